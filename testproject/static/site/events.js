const panel = document.getElementById("events");
const start = panel.querySelector("[data-start]");
const stop = panel.querySelector("[data-stop]");
const state = panel.querySelector("[data-state]");
const log = panel.querySelector("[data-log]");
let source = null;

function show(text, live = false) {
  state.textContent = text;
  state.classList.toggle("live", live);
  start.disabled = source !== null;
  stop.disabled = source === null;
}

function connect() {
  source = new EventSource(panel.dataset.url);
  show("connecting");
  source.onopen = () => show("live", true);
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    const item = document.createElement("li");
    item.textContent = `Event ${data.id} at ${new Date(data.time).toLocaleTimeString()} from process ${data.pid}`;
    log.prepend(item);
    while (log.children.length > 12) log.lastChild.remove();
  };
  source.onerror = () => {
    // The browser tries again by itself, unless the server's answer was not a stream of events.
    if (source.readyState === EventSource.CLOSED) close();
    else show("connection lost, trying again");
  };
}

function close() {
  source.close();
  source = null;
  show("stopped");
}

start.addEventListener("click", connect);
stop.addEventListener("click", close);
connect();
