// The divider follows its slider; a click that does not drag opens both pictures side by side.
for (const slider of document.querySelectorAll(".compare input")) {
  let start = 0;
  slider.addEventListener("pointerdown", (event) => (start = event.clientX));
  slider.addEventListener("input", () =>
    slider.parentElement.style.setProperty("--cut", slider.value + "%"));
  slider.addEventListener("click", (event) => {
    const handle = slider.getBoundingClientRect();
    if (Math.abs(event.clientX - start) > 3) return;
    showSides(slider.parentElement, event.offsetX / handle.width, event.offsetY / handle.height);
  });
}

const dialog = document.querySelector("dialog");
const panes = [...dialog.querySelectorAll(".pane")];
let scale = 1;

// Both pictures at 1:1, the clicked point in the middle of each pane.
function showSides(compare, x, y) {
  const [right, left] = compare.querySelectorAll("img");
  [left, right].forEach((picture, index) => {
    panes[index].firstElementChild.src = picture.src;
    panes[index].nextElementSibling.textContent = picture.alt;
  });
  dialog.showModal();
  setScale(1, x, y);
}

function setScale(factor, x, y) {
  scale = factor;
  for (const pane of panes) {
    const picture = pane.firstElementChild;
    picture.style.width = scale * picture.naturalWidth + "px";
    picture.style.imageRendering = scale > 1 ? "pixelated" : "auto";
    pane.scrollLeft = x * picture.offsetWidth - pane.clientWidth / 2;
    pane.scrollTop = y * picture.offsetHeight - pane.clientHeight / 2;
  }
}

panes.forEach((pane, index) => {
  const other = panes[1 - index];
  pane.addEventListener("scroll", () => {
    other.scrollLeft = pane.scrollLeft;
    other.scrollTop = pane.scrollTop;
  });
  pane.addEventListener("pointermove", (event) => {
    if (event.buttons) pane.scrollBy(-event.movementX, -event.movementY);
  });
  pane.firstElementChild.draggable = false;
});
dialog.querySelector(".close").onclick = () => dialog.close();
dialog.querySelector(".zoom").onclick = () => {
  const pane = panes[0];
  const picture = pane.firstElementChild;
  const x = (pane.scrollLeft + pane.clientWidth / 2) / picture.offsetWidth;
  const y = (pane.scrollTop + pane.clientHeight / 2) / picture.offsetHeight;
  setScale(scale >= 8 ? 1 : 2 * scale, x, y);
};

// The controls of a restored video play the input, too.
for (const section of document.querySelectorAll(".videos")) {
  const [before, after] = section.querySelectorAll("video");
  const follow = () => {
    if (Math.abs(before.currentTime - after.currentTime) > 0.05)
      before.currentTime = after.currentTime;
  };
  after.onplay = () => before.play();
  after.onpause = () => {
    before.pause();
    follow();
  };
  after.onseeked = after.ontimeupdate = follow;
}

// What is compared: the lists choose the pictures on both sides of every divider.
const choices = [...document.querySelectorAll(".choice select")];
function choose() {
  for (const compare of document.querySelectorAll(".compare")) {
    const sources = [...compare.nextElementSibling.children];
    const [right, left] = compare.querySelectorAll("img");
    [left, right].forEach((picture, side) => {
      const label = choices[side].value;
      const source = sources.find((other) => other.alt === label);
      picture.alt = label;
      compare.querySelector(side ? ".right" : ".left").textContent = source ? label : label + ": none";
      if (source) picture.src = source.src;
    });
  }
}
if (choices.length) {
  choices.forEach((list) => (list.onchange = choose));
  choose();
}
