const panel = document.getElementById("websocket");
const form = panel.querySelector("form");
const toggle = panel.querySelector("[data-toggle]");
const bytes = panel.querySelector("[data-bytes]");
const state = panel.querySelector("[data-state]");
const log = panel.querySelector("[data-log]");
let socket = null;

function show(text, open = false) {
  state.textContent = text;
  state.classList.toggle("live", open);
  toggle.textContent = socket ? "Disconnect" : "Connect";
  form.querySelector("button").disabled = bytes.disabled = !open;
}

function note(arrow, data) {
  const item = document.createElement("li");
  item.textContent = `${arrow} ${data instanceof ArrayBuffer ? `bytes ${new Uint8Array(data).join(" ")}` : data}`;
  log.prepend(item);
  while (log.children.length > 12) log.lastChild.remove();
}

function connect() {
  socket = new WebSocket(location.origin.replace("http", "ws") + panel.dataset.path);
  socket.binaryType = "arraybuffer";
  show("connecting");
  socket.onopen = () => show("connected", true);
  socket.onmessage = (event) => note("←", event.data);
  socket.onclose = (event) => {
    socket = null;
    show(`closed (code ${event.code})`);
  };
}

function send(data) {
  note("→", data);
  socket.send(data);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send(form.elements.text.value);
  form.elements.text.select();
});
bytes.addEventListener("click", () => send(crypto.getRandomValues(new Uint8Array(4)).buffer));
toggle.addEventListener("click", () => (socket ? socket.close() : connect()));
connect();
