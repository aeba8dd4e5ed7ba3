"use strict";
// Without this script the page shows everything but other views and enlarged pictures.

// Which layer the images show.
for (const input of document.querySelectorAll("input[name=view]")) {
  input.addEventListener("change", () => { document.body.dataset.view = input.value; });
}
const checked = document.querySelector("input[name=view]:checked"); // kept by a reload
if (checked) document.body.dataset.view = checked.value;

// Arrow keys go from picture to picture, also where one is enlarged.
const buttons = [...document.querySelectorAll(".gallery button")];
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

function neighbour(button, step) {
  const inGallery = [...button.closest(".gallery").querySelectorAll("button")];
  return inGallery[(inGallery.indexOf(button) + step + inGallery.length) % inGallery.length];
}

for (const button of buttons) {
  button.addEventListener("click", () => enlarge(button));
  button.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    neighbour(button, STEPS[event.key]).focus();
  });
}

// An enlarged picture: the image and its layers side by side, or one of them.
const dialog = document.getElementById("zoom");
let current = null;
let single = null; // the number of the one layer that is shown

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function enlarge(button, focused = "Close") {
  if (button !== current) part = null;
  current = button;
  const figure = button.closest("figure");
  const svg = figure.querySelector("svg");
  const names = ["image", ...[...svg.querySelectorAll(".layer")].map((each) => each.dataset.name)];
  if (single >= names.length) single = null; // a layer of another gallery
  const panels = names.map((name, index) => element(
    "figure", { hidden: single !== null && single !== index },
    panel(svg, figure.dataset.key, index), element("figcaption", { textContent: name }),
  ));
  const all = element("div", { className: "panels" }, ...panels);
  all.toggleAttribute("data-single", single !== null);
  dialog.replaceChildren(
    element(
      "header", {},
      element("h2", { id: "zoom-title", textContent: figure.dataset.title }),
      views(names),
      action("Zoom in", () => zoom(1 / ZOOM_STEP)),
      action("Zoom out", () => zoom(ZOOM_STEP)),
      action("Previous", () => enlarge(neighbour(current, -1), "Previous")),
      action("Next", () => enlarge(neighbour(current, 1), "Next")),
      action("Close", () => dialog.close()),
    ),
    all,
    element("p", { textContent: figure.querySelector("figcaption").textContent }),
    document.querySelector(".legend").cloneNode(true),
  );
  whole = viewBox(svg);
  show(part ?? whole);
  if (!dialog.open) dialog.showModal();
  // What had the focus was replaced.
  const controls = [...dialog.querySelectorAll("button, input:checked")];
  controls.find((each) => (each.type === "radio" ? "view" : each.textContent) === focused).focus();
}

function panel(svg, key, index) {
  const copy = svg.cloneNode(false);
  const use = (id, name = "") => `<use class="${name}" href="#${key}-${id}"/>`;
  copy.innerHTML = use(0) + (index ? use(index, "halo") + use(index) : "");
  return copy;
}

function views(names) {
  const options = [[null, "side by side"], ...names.map((name, index) => [index, name])];
  const set = element("fieldset", { className: "views" });
  for (const [value, name] of options) {
    const input = element("input", { type: "radio", name: "zoom-view", checked: value === single });
    input.addEventListener("change", () => {
      single = value;
      enlarge(current, "view");
    });
    set.append(element("label", {}, input, ` ${name}`));
  }
  return set;
}

function action(name, act) {
  const button = element("button", { type: "button", textContent: name });
  button.addEventListener("click", act);
  return button;
}

// Which part of the image the panels of the enlarged picture show, all the same: x, y, width, height.
const ZOOM_STEP = 1.5;
const MOST_ZOOM = 16;
let whole = null;
let part = null;

function viewBox(svg) {
  const [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { x, y, width, height };
}

// A part as large as that one, but inside of the image.
function show({ x, y, width, height }) {
  const inside = (start, length, from, all) => Math.max(from, Math.min(start, from + all - length));
  part = {
    x: inside(x, width, whole.x, whole.width), y: inside(y, height, whole.y, whole.height),
    width, height,
  };
  const text = [part.x, part.y, part.width, part.height].join(" ");
  for (const svg of dialog.querySelectorAll(".panels svg")) svg.setAttribute("viewBox", text);
}

// Make the part larger by a factor; the place at a share of its width and height stays there.
function zoom(factor, across = 0.5, down = 0.5) {
  const size = Math.min(1, Math.max(1 / MOST_ZOOM, (part.width / whole.width) * factor));
  const width = whole.width * size;
  const height = whole.height * size;
  const x = part.x + (part.width - width) * across;
  show({ x, y: part.y + (part.height - height) * down, width, height });
}

function move(across, down) {
  show({ ...part, x: part.x + across * part.width, y: part.y + down * part.height });
}

const ZOOM_KEYS = { "+": 1 / ZOOM_STEP, "=": 1 / ZOOM_STEP, "-": ZOOM_STEP, 0: MOST_ZOOM };
const MOVES = {
  ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2],
};

dialog.addEventListener("keydown", (event) => {
  // Among radio buttons, arrow keys have their usual meaning.
  if (event.ctrlKey || event.metaKey || (event.key in STEPS && event.target.type === "radio")) return;
  if (event.key in ZOOM_KEYS) zoom(ZOOM_KEYS[event.key]);
  else if (event.key in MOVES && event.shiftKey) move(...MOVES[event.key]);
  else if (event.key in STEPS) enlarge(neighbour(current, STEPS[event.key]));
  else return;
  event.preventDefault();
});

dialog.addEventListener("wheel", (event) => {
  const svg = event.target.closest(".panels svg");
  if (svg === null) return;
  event.preventDefault();
  const { left, top, width, height } = svg.getBoundingClientRect();
  const factor = event.deltaY < 0 ? 1 / ZOOM_STEP : ZOOM_STEP;
  zoom(factor, (event.clientX - left) / width, (event.clientY - top) / height);
}, { passive: false });

dialog.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest(".panels svg");
  if (svg !== null) svg.setPointerCapture(event.pointerId);
});
dialog.addEventListener("pointermove", (event) => {
  const svg = event.target.closest(".panels svg");
  if (svg === null || !svg.hasPointerCapture(event.pointerId)) return;
  const { width, height } = svg.getBoundingClientRect();
  move(-event.movementX / width, -event.movementY / height);
});

dialog.addEventListener("close", () => {
  part = null;
  current.focus();
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
