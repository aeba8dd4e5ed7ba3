"use strict";
// The nuclei of one image: drawn as SVG, changed by steps that the program does.
// All coordinates are px of the image from its upper left corner.

const STEP = 1.25; // of a zoom
const CLICK = 4; // px of the screen that a click may move
const part = (id) => document.getElementById(id);
const picture = part("picture");
const pointers = new Map(); // that touch the picture, by id
let about, view, cursor, nuclei = [], dragged = 0, waiting = 0, turn = Promise.resolve();

// Steps are done one after the other, so that of fast clicks none is lost.
function step(name, options = {}) {
  waiting += 1;
  showBusy();
  turn = turn.then(async () => {
    try {
      const answer = await fetch(`steps/${name}`, { method: "POST", body: JSON.stringify(options) });
      if (!answer.ok) throw new Error(await answer.text());
      show(await answer.json());
    } catch (error) {
      part("status").textContent = `Not done: ${error.message}`;
    }
    waiting -= 1;
    showBusy();
  });
  return turn;
}

function showBusy() {
  document.body.classList.toggle("busy", waiting > 0);
  picture.setAttribute("aria-busy", waiting > 0);
}

function show(state) {
  nuclei = state.nuclei;
  part("nuclei").replaceChildren(...nuclei.map((nucleus, index) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", nucleus.path);
    path.setAttribute("stroke", `rgb(${about.classes[nucleus.class].color})`);
    path.dataset.index = index;
    return path;
  }));
  about.classes.forEach((_, index) => {
    part(`count${index}`).textContent = nuclei.filter((each) => each.class === index).length;
  });
  part("undo").disabled = !state.can_undo;
  part("redo").disabled = !state.can_redo;
  part("status").textContent = state.done;
}

// The part of the image that is seen; it keeps the shape of the picture on the screen.
function look(x, y, width) {
  const box = picture.getBoundingClientRect();
  const shape = box.height / box.width;
  const widest = Math.max(about.width, about.height / shape);
  width = Math.min(Math.max(width, 8), widest);
  const height = width * shape;
  // What is in its middle is image; the whole of it lies there itself.
  const whole = width === widest;
  const inside = (start, length, side) => whole ? (side - length) / 2
    : Math.min(Math.max(start, -length / 2), side - length / 2);
  view = { x: inside(x, width, about.width), y: inside(y, height, about.height), width, height, whole };
  picture.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  drawCursor();
}

const fit = () => look(0, 0, Infinity);
const center = () => ({ x: view.x + view.width / 2, y: view.y + view.height / 2 });

function zoom(factor, at = center()) {
  const widest = view.width;
  const width = view.width / factor;
  look(at.x - (at.x - view.x) * width / widest, at.y - (at.y - view.y) * width / widest, width);
}

function place(event) {
  const box = picture.getBoundingClientRect();
  return {
    x: view.x + (event.clientX - box.left) * view.width / box.width,
    y: view.y + (event.clientY - box.top) * view.height / box.height,
  };
}

function click(at) {
  if (at.x < 0 || at.y < 0 || at.x > about.width || at.y > about.height) return;
  const chosen = document.querySelector("[name=class]:checked").value;
  step("click", {
    ...at,
    class: chosen === "" ? null : Number(chosen),
    changes_class: document.querySelector("[name=mode]:checked").value === "class",
  });
}

function describe(element) {
  const index = element?.dataset?.index;
  const nucleus = index === undefined ? null : nuclei[index];
  part("pointer").textContent = nucleus
    ? `${about.classes[nucleus.class].name}, estimated IoU ${nucleus.score.toFixed(2)}` : "";
}

// The cross of whoever uses the keyboard.
function drawCursor() {
  const arm = view.width / 60;
  if (cursor) {
    part("cursor").setAttribute("d", `M${cursor.x - arm} ${cursor.y}h${2 * arm}M${cursor.x} `
      + `${cursor.y - arm}v${2 * arm}`);
  }
  part("cursor").toggleAttribute("hidden", !cursor);
}

function moveCursor(dx, dy) {
  const inside = (value, side) => Math.min(Math.max(value, 0.5), side - 0.5);
  const from = cursor ?? center();
  cursor = { x: inside(from.x + dx, about.width), y: inside(from.y + dy, about.height) };
  const { x, y, width, height } = view;
  const follow = (start, length, at) => Math.min(Math.max(start, at - length * 0.95), at - length * 0.05);
  look(follow(x, width, cursor.x), follow(y, height, cursor.y), width);
  const box = picture.getBoundingClientRect();
  describe(document.elementsFromPoint(
    box.left + (cursor.x - view.x) / view.width * box.width,
    box.top + (cursor.y - view.y) / view.height * box.height,
  ).find((each) => each.dataset.index !== undefined));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressed(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const onPicture = document.activeElement === picture;
  const control = event.ctrlKey || event.metaKey;
  if (control && key === "z") step(event.shiftKey ? "redo" : "undo");
  else if (control && key === "y") step("redo");
  else if (control || event.altKey) return;
  else if (key === "+" || key === "=") zoom(STEP);
  else if (key === "-") zoom(1 / STEP);
  else if (key === "0") fit();
  else if (/^[1-9]$/.test(key) && about.classes[key - 1]) part(`class${key - 1}`).checked = true;
  else if (onPicture && ARROWS[key]) {
    const [dx, dy] = ARROWS[key].map((each) => each * view.width / 40);
    if (event.shiftKey) look(view.x + 4 * dx, view.y + 4 * dy, view.width);
    else moveCursor(dx, dy);
  } else if (onPicture && (key === "Enter" || key === " ")) click(cursor ?? center());
  else return;
  event.preventDefault();
}

// One pointer moves the image, two zoom it, and one that hardly moves clicks.
picture.addEventListener("pointerdown", (event) => {
  picture.setPointerCapture(event.pointerId);
  if (pointers.size === 0) dragged = 0;
  pointers.set(event.pointerId, event);
});
picture.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return describe(event.target);
  const moved = Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
  if (dragged + moved <= CLICK && pointers.size === 1) return;
  const others = [...pointers.values()].filter((each) => each.pointerId !== event.pointerId);
  if (others.length) {
    const apart = (each) => Math.hypot(each.clientX - others[0].clientX, each.clientY - others[0].clientY);
    zoom(apart(event) / Math.max(apart(before), 1), place(others[0]));
  } else {
    const [from, to] = [place(before), place(event)];
    look(view.x + from.x - to.x, view.y + from.y - to.y, view.width);
  }
  dragged += moved;
  pointers.set(event.pointerId, event);
});
picture.addEventListener("pointerup", (event) => {
  const started = pointers.get(event.pointerId);
  if (started && pointers.size === 1 && dragged <= CLICK && event.button === 0) {
    cursor = null;
    drawCursor();
    click(place(event));
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  picture.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
picture.addEventListener("pointerleave", () => describe(null));
picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? STEP : 1 / STEP, place(event));
}, { passive: false });

part("closer").addEventListener("click", () => zoom(STEP));
part("farther").addEventListener("click", () => zoom(1 / STEP));
part("fit").addEventListener("click", fit);
for (const name of ["undo", "redo", "reset", "export", "save"]) {
  part(name).addEventListener("click", () => step(name));
}
part("read").addEventListener("click", () => part("chosen").click());
part("chosen").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) step("read", { text: await file.text() });
  event.target.value = "";
});
part("outlined").addEventListener("change", (event) => {
  part("nuclei").toggleAttribute("hidden", !event.target.checked);
});
new ResizeObserver(() => view && (view.whole ? fit() : look(view.x, view.y, view.width)))
  .observe(picture);
addEventListener("keydown", pressed);

function listClasses() {
  const choice = (value, id, name, ...more) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "class", value, id });
    label.append(input, ...more, name);
    part("classes").append(label);
    return label;
  };
  choice("", "nearest", "as the nearest nucleus").querySelector("input").checked = true;
  about.classes.forEach(({ name, color }, index) => {
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.background = `rgb(${color})`;
    const count = Object.assign(document.createElement("span"), { className: "count", id: `count${index}` });
    choice(index, `class${index}`, name, swatch).append(count);
  });
}

async function start() {
  about = await (await fetch("about")).json();
  document.title = `Nuclei of ${about.file}`;
  part("file").textContent = about.file;
  part("pixels").setAttribute("width", about.width);
  part("pixels").setAttribute("height", about.height);
  listClasses();
  fit();
  await step("show");
}
start();
