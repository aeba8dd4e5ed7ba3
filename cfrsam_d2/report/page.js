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
      action("Previous", () => enlarge(neighbour(current, -1), "Previous")),
      action("Next", () => enlarge(neighbour(current, 1), "Next")),
      action("Close", () => dialog.close()),
    ),
    all,
    element("p", { textContent: figure.querySelector("figcaption").textContent }),
    document.querySelector(".legend").cloneNode(true),
  );
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

dialog.addEventListener("keydown", (event) => {
  // Among radio buttons, arrow keys have their usual meaning.
  if (!(event.key in STEPS) || event.target.type === "radio") return;
  event.preventDefault();
  enlarge(neighbour(current, STEPS[event.key]));
});
dialog.addEventListener("close", () => current.focus());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
