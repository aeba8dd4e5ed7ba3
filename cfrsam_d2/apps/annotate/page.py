"""The page of an `AnnotationSession`: files for the browser, and the steps that it asks for."""

import asyncio
import json
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ...data.converters.dataset_writer import JSON_NAME, NucleusJsonWriter
from ...errors import UserError
from ...export import ExportFolder
from ...export.outlines import mask_polygons
from ...files import png_bytes
from ...structures.masks import BoxMask
from .loopback import LoopbackOnly
from .session import AnnotationSession

FORMATS = ("geojson", "csv", "tiff", "overlay")
STATIC = Path(__file__).parent / "static"
THEME = Path(__file__).parents[1] / "theme.css"
DATASET = "dataset"  # the folder that training reads, in the output folder


class AnnotationPage:
    """Answers what `static/page.js` asks for."""

    def __init__(self, session: AnnotationSession, output: Path) -> None:
        """
        Args:
            session: whose nuclei are shown.
            output: folder that exported files go to.
        """
        self.session = session
        self.output = output
        # The page and other tabs of it change the same nuclei: one step after the other.
        self._turn = asyncio.Lock()
        self._steps: dict[str, Callable[[dict[str, Any]], str]] = {
            "show": lambda _: "",
            "click": self._click,
            "undo": lambda _: session.undo(),
            "redo": lambda _: session.redo(),
            "reset": lambda _: session.reset(),
            "export": lambda _: self._export(),
            "read": self._read,
            "save": lambda _: self._save(),
        }

    def app(self) -> Starlette:
        """The page for a server; it answers this machine alone."""
        routes = [
            Route("/about", self._about),
            Route("/image.png", self._image),
            Route("/theme.css", lambda _: FileResponse(THEME)),
            Route("/steps/{name}", self._step, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(LoopbackOnly)])

    def launch(self, port: int | None, *, open_browser: bool) -> None:
        """Serve the page on 127.0.0.1 until the process is interrupted.

        Args:
            port: None: a free one.
            open_browser: show it in the user's browser.

        Raises:
            UserError: the port is taken.
        """
        with listening(port) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            print(f"The page is at {address} until this is interrupted (Ctrl+C)", flush=True)
            if open_browser:
                webbrowser.open(address)
            config = uvicorn.Config(self.app(), log_level="warning", timeout_graceful_shutdown=2)
            try:
                uvicorn.Server(config).run(sockets=[listener])
            except KeyboardInterrupt:
                return

    async def _about(self, request: Request) -> JSONResponse:
        """What does not change: the file's name, its size in px, and the classes."""
        session = self.session
        height, width = session.image.shape[:2]
        classes = [
            {"name": name, "color": list(color)}
            for name, color in zip(session.classes, session.colors, strict=True)
        ]
        about = {"file": session.file_name, "width": width, "height": height, "classes": classes}
        return JSONResponse(about)

    async def _image(self, request: Request) -> Response:
        content = await run_in_threadpool(png_bytes, self.session.image)
        return Response(content, media_type="image/png")

    async def _step(self, request: Request) -> Response:
        """Do one step, and answer with all nuclei and what was done."""
        name = request.path_params["name"]
        if name not in self._steps:
            return Response("There is no such step.", status_code=404)
        try:
            options = json.loads(await request.body() or "{}")
        except ValueError:
            return Response("The step is no JSON.", status_code=400)
        async with self._turn:
            return JSONResponse(await run_in_threadpool(self.do, name, options))

    def do(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """A step, and the state after it, with what was `done` in a sentence."""
        try:
            done = self._steps[name](options)
        except UserError as error:
            done = f"Not done: {error}."
        return self.state() | {"done": done}

    def state(self) -> dict[str, Any]:
        """The nuclei, each with its outline as a path of SVG, in px from the image's corner."""
        nuclei = self.session.nuclei
        fields = (nuclei.pred_classes, nuclei.scores, nuclei.pred_points)
        return {
            "nuclei": [
                {"path": svg_path(mask), "class": category, "score": score, "point": point}
                for mask, category, score, point in zip(
                    nuclei.pred_masks, *(field.tolist() for field in fields), strict=True
                )
            ],
            "can_undo": self.session.can_undo,
            "can_redo": self.session.can_redo,
        }

    def _click(self, options: dict[str, Any]) -> str:
        """At `x`, `y` in px from the image's corner, whose first pixel has its middle at 0.5."""
        height, width = self.session.image.shape[:2]
        x = min(max(float(options["x"]) - 0.5, 0), width - 1)
        y = min(max(float(options["y"]) - 0.5, 0), height - 1)
        category = options.get("class")
        if not options.get("changes_class"):
            return self.session.toggle(x, y, category)
        if category is None:
            return "Choose the class that the nucleus shall get."
        return self.session.change_class(x, y, category)

    def _read(self, options: dict[str, Any]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "nuclei.geojson"
            file.write_text(options["text"], encoding="utf-8")
            try:
                return self.session.read_geojson(file)
            except UserError as error:
                raise UserError(str(error).replace(str(file), "the file")) from None

    def _export(self) -> str:
        """Write the nuclei as `tools/predict.py` does."""
        name = Path(self.session.file_name).stem
        folder = ExportFolder(self.output, FORMATS)
        folder.start(self.session.config + "# nuclei edited by hand\n", resume=False)
        folder.write(name, folder.encode(self.session.prediction()))
        return f"Wrote {len(self.session.nuclei)} nuclei: {self.output}/{name}.geojson and others."

    def _save(self) -> str:
        """Put the image and its nuclei into the data set that training reads."""
        session, folder = self.session, self.output / DATASET
        name = f"{Path(session.file_name).stem}.png"
        writer = NucleusJsonWriter(folder, session.classes)
        writer.read(without=name)
        nuclei = zip(session.nuclei.pred_masks, session.nuclei.pred_classes.tolist(), strict=True)
        magnification = session.magnification
        writer.add(name, session.image, nuclei, tissue="unknown", magnification=magnification)
        writer.write()
        return f"Saved {len(session.nuclei)} nuclei of {name} in {folder / JSON_NAME}."


def svg_path(mask: BoxMask) -> str:
    """The outline of a mask, its holes with it."""
    rings = [ring for polygon in mask_polygons(mask) for ring in polygon]
    return "".join(f"M{'L'.join(f'{x:g} {y:g}' for x, y in ring[:-1])}Z" for ring in rings)


def listening(port: int | None) -> socket.socket:
    """A socket of 127.0.0.1 that waits for browsers.

    Args:
        port: None: a free one.

    Raises:
        UserError: the port is taken.
    """
    try:
        return socket.create_server(("127.0.0.1", port or 0))
    except OSError:
        raise UserError(f"port {port} is taken: let --port name a free one") from None
