// The one WebSocket: hands out messages by type, remembers what the page
// watches, and reconnects by itself.

const RETRY_MS = [500, 1000, 2000, 4000, 5000];
/** A server that says nothing for this long is taken for gone. */
const SILENCE_MS = 4000;

export class Live {
  constructor(onState) {
    this.onState = onState;
    this.handlers = new Map();
    this.wanted = { watch: [], rows: [] };
    this.attempts = 0;
    this.connect();
  }

  on(type, handler) {
    this.handlers.set(type, handler);
  }

  /** Asks for the charts of the views `watch` and the newest rows of the views `rows`. */
  watch(watch, rows) {
    const wanted = { watch, rows };
    if (JSON.stringify(wanted) === JSON.stringify(this.wanted)) return;
    this.wanted = wanted;
    this.send();
  }

  send() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(this.wanted));
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket = socket;
    socket.onopen = () => this.send();
    socket.onmessage = (event) => {
      this.attempts = 0;
      this.heard();
      const message = JSON.parse(event.data);
      this.handlers.get(message.type)?.(message);
    };
    socket.onclose = () => this.lost(socket);
    this.heard();
  }

  heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.socket.close(), SILENCE_MS);
    if (this.socket.readyState === WebSocket.OPEN) this.onState('live');
  }

  lost(socket) {
    if (socket !== this.socket) return;
    clearTimeout(this.silence);
    const wait = RETRY_MS[Math.min(this.attempts, RETRY_MS.length - 1)];
    this.attempts += 1;
    this.onState('lost');
    setTimeout(() => this.connect(), wait);
  }
}
