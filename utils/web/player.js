// props.value: {before: [address, ...], after: [address, ...], frames: whether they are pictures,
// labels: [left, right], fps}. One video on each side, or pictures of which one is shown.
const part = (selector) => element.querySelector(selector);

const setUp = () => {
  clearInterval(element.timer);
  const value = props.value;
  if (!value || !value.after) return;
  part(".left").textContent = value.labels[0];
  part(".right").textContent = value.labels[1];
  for (const side of ["before", "after"]) {
    const shown = value[side].map((address) => {
      const one = document.createElement(value.frames ? "img" : "video");
      one.src = address;
      if (!value.frames) Object.assign(one, {
        muted: side === "before", playsInline: true, loop: true, preload: "auto",
      });
      return one;
    });
    part("." + side).replaceChildren(...shown);
  }
  part(".cut").oninput = (event) =>
    part(".compare").style.setProperty("--cut", event.target.value + "%");
  (value.frames ? setUpFrames : setUpVideos)(value);
};

const setUpVideos = (value) => {
  const after = part(".after video");
  const before = part(".before video");
  const time = part(".time");
  const tell = () => {
    const length = after.duration || 0;
    if (length && !time.matches(":active")) time.value = (1000 * after.currentTime) / length;
    part("output").textContent = `${after.currentTime.toFixed(1)} of ${length.toFixed(1)} s`;
    if (Math.abs(before.currentTime - after.currentTime) > 0.6 / value.fps)
      before.currentTime = after.currentTime;
  };
  after.onloadedmetadata = after.onseeked = after.ontimeupdate = tell;
  element.timer = setInterval(() => after.paused || tell(), 100);
  after.onpause = () => {
    before.pause();
    before.currentTime = after.currentTime;
    part(".play").textContent = "Play";
  };
  after.onplay = () => {
    before.play();
    part(".play").textContent = "Pause";
  };
  part(".play").onclick = () => (after.paused ? after.play() : after.pause());
  time.oninput = () => {
    after.currentTime = (time.value / 1000) * (after.duration || 0);
  };
};

const setUpFrames = (value) => {
  const time = part(".time");
  const frames = [...element.querySelectorAll(".after img")];
  let direction = 1;
  const show = (number) => {
    frames.forEach((frame, index) => (frame.style.display = index === number ? "block" : "none"));
    time.value = number;
    part("output").textContent = `frame ${number + 1} of ${frames.length}`;
  };
  const play = () => {
    element.timer = setInterval(() => {
      const now = Number(time.value);
      if (now + direction < 0 || now + direction >= frames.length) direction = -direction;
      show(now + direction);
    }, 1000 / value.fps);
    part(".play").textContent = "Pause";
  };
  const pause = () => {
    clearInterval(element.timer);
    element.timer = undefined;
    part(".play").textContent = "Play";
  };
  time.max = frames.length - 1;
  time.oninput = () => {
    pause();
    show(Number(time.value));
  };
  part(".play").onclick = () => (element.timer ? pause() : play());
  show(0);
  play();
};

setUp();
watch("value", setUp);
