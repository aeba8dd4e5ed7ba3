"""The page of an `AnnotationSession`, made with Gradio, for browsers of this machine alone."""

import os
from collections import Counter
from html import escape
from pathlib import Path

# Gradio asks its makers for a newer version, and counts its users: this page needs no network.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import numpy as np
from gradio.route_utils import delete_files_created_by_app
from gradio.themes import Default
from starlette.middleware import Middleware

from ...errors import UserError
from ...export import ExportFolder
from ...visualization.drawing import draw_instances, upscaling_factor
from .loopback import LoopbackOnly
from .session import AnnotationSession

FORMATS = ("geojson", "csv", "tiff", "overlay")
AS_NEAREST = "as the nearest nucleus"
# Gradio keeps a file of every picture that it has shown: how often it looks for old ones, and their
# age. All go when it ends.
CACHE_SECONDS = (60, 600)
_FONT = ("system-ui", "sans-serif")


class AnnotationPage:
    """The picture of the nuclei, and the buttons beside it."""

    def __init__(self, session: AnnotationSession, output: Path) -> None:
        """
        Args:
            session: whose nuclei are shown.
            output: folder that exported files go to.
        """
        self.session = session
        self.output = output
        self.scale = upscaling_factor(*session.image.shape[:2])

    def build(self) -> gr.Blocks:
        """The page, not launched."""
        session = self.session
        with gr.Blocks(
            title=f"Nuclei of {session.file_name}",
            analytics_enabled=False,
            delete_cache=CACHE_SECONDS,
        ) as page:
            gr.Markdown(
                f"## {session.file_name}\n"
                "Click on a nucleus to remove it, anywhere else to add one."
            )
            with gr.Row():
                with gr.Column(scale=3):
                    picture = gr.Image(
                        show_label=False,
                        interactive=False,
                        buttons=["fullscreen"],
                        format="png",
                        elem_id="picture",
                    )
                with gr.Column(scale=1, min_width=240):
                    category = gr.Radio(
                        [AS_NEAREST, *session.classes],
                        value=AS_NEAREST,
                        label="Class of a nucleus that is added",
                    )
                    outlined = gr.Checkbox(True, label="Show the nuclei", elem_id="outlined")
                    legend = gr.HTML()
                    status = gr.Markdown(elem_id="status")
                    reset = gr.Button("Reset")
                    export = gr.Button("Export", variant="primary")
            shown = [picture, legend, status]
            # One after the other, as they change the same nuclei; and no click is lost, not even
            # to a sign of progress over the picture.
            queue = {
                "concurrency_id": "session",
                "trigger_mode": "multiple",
                "show_progress_on": status,
            }
            page.load(self.show, outlined, shown, **queue)
            picture.select(self.click, [category, outlined], shown, **queue)
            outlined.change(self.show, outlined, shown, **queue)
            reset.click(self.reset, outlined, shown, **queue)
            export.click(self.export, None, status, **queue)
        return page

    def launch(self, port: int | None, *, open_browser: bool) -> None:
        """Serve the page on 127.0.0.1 until the process is interrupted.

        Args:
            port: None: a free one.
            open_browser: show it in the user's browser.

        Raises:
            UserError: the port is taken.
        """
        page = self.build()
        address = serve(page, port, open_browser=open_browser)
        print(f"The page is at {address} until this is interrupted (Ctrl+C)", flush=True)
        page.block_thread()
        # Gradio does so as well, if its server has ended within 5 s of the interruption.
        delete_files_created_by_app(page, age=None)

    def click(
        self, category: str, outlined: bool, event: gr.SelectData
    ) -> tuple[np.ndarray, str, str]:
        """A click on the picture; `event.index` is x, y in its px from its upper left corner.

        Gradio rounds them to the nearest edge of a pixel; the corner is at −0.5 px of the image.
        """
        x, y = (place / self.scale - 0.5 for place in event.index)
        height, width = self.session.image.shape[:2]
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        classes = self.session.classes
        done = self.session.toggle(x, y, classes.index(category) if category in classes else None)
        return self.show(outlined, done)

    def reset(self, outlined: bool) -> tuple[np.ndarray, str, str]:
        self.session.reset()
        return self.show(outlined, "Back to what the model finds.")

    def show(self, outlined: bool, done: str = "") -> tuple[np.ndarray, str, str]:
        """The picture, the legend, and what was done."""
        return self.draw() if outlined else self._plain(), self.legend(), done

    def draw(self) -> np.ndarray:
        """Outlines and prompts by class on the enlarged image, (s·H, s·W, 3) uint8."""
        session, nuclei = self.session, self.session.nuclei
        return draw_instances(
            session.image,
            nuclei.pred_masks,
            nuclei.pred_classes.tolist(),
            nuclei.pred_points.numpy(),
            session.colors,
            self.scale,
        )

    def _plain(self) -> np.ndarray:
        return draw_instances(self.session.image, None, [], None, self.session.colors, self.scale)

    def legend(self) -> str:
        """Classes with their colours and how many nuclei they have, as HTML."""
        counts = Counter(self.session.nuclei.pred_classes.tolist())
        items = [
            f'<li><span style="display:inline-block;width:.8em;height:.8em;margin-right:.5em;'
            f'border:1px solid #141414;background:rgb{color}"></span>'
            f"{escape(name)}: {counts[index]}</li>"
            for index, (name, color) in enumerate(
                zip(self.session.classes, self.session.colors, strict=True)
            )
        ]
        return f'<ul id="legend" style="list-style:none;padding:0">{"".join(items)}</ul>'

    def export(self) -> str:
        """Write the nuclei as `tools/predict.py` does."""
        name = Path(self.session.file_name).stem
        folder = ExportFolder(self.output, FORMATS)
        try:
            folder.start(self.session.config + "# nuclei edited by hand\n", resume=False)
            folder.write(name, folder.encode(self.session.prediction()))
        except UserError as error:
            return f"Not exported: {error}."
        return f"Wrote {len(self.session.nuclei)} nuclei: {self.output}/{name}.geojson and others."


def serve(page: gr.Blocks, port: int | None, *, open_browser: bool) -> str:
    """Serve a page to this machine alone, in a thread.

    Args:
        page: not launched.
        port: None: a free one.
        open_browser: show it in the user's browser.

    Returns:
        Its address.

    Raises:
        UserError: the port is taken.
    """
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            inbrowser=open_browser,
            theme=Default(font=_FONT, font_mono=("monospace",)),
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
            app_kwargs={"middleware": [Middleware(LoopbackOnly)]},
        )
    except OSError:
        ports = "every port from 7860 on" if port is None else f"port {port}"
        raise UserError(f"{ports} is taken: let --port name a free one") from None
    return address
