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
  const [restored, input] = compare.querySelectorAll("img");
  panes[0].firstElementChild.src = input.src;
  panes[1].firstElementChild.src = restored.src;
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
