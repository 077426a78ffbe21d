// The newest rows of one view, flowing in from the top at an even pace however
// they arrive. Columns keep their widths; only the newest rows of each message
// are shown, and the note says how many there really are.

import { byId, element, setText } from './dom.js';
import { cell, compact, flushRight } from './format.js';

const VISIBLE = 14;
const ROW_PX = 33;
/** Most rows let in between two messages. */
const DRIPS = 6;
const still = matchMedia('(prefers-reduced-motion: reduce)');

export class Rain {
  constructor(onView) {
    this.host = byId('rain-window');
    this.queue = [];
    this.paused = false;
    this.hovered = false;
    this.select = byId('rain-view');
    this.select.addEventListener('change', () => onView(this.select.value));
    byId('rain-pause').addEventListener('click', () => this.pause(!this.paused));
    this.host.addEventListener('pointerenter', () => { this.hovered = true; });
    this.host.addEventListener('pointerleave', () => { this.hovered = false; });
  }

  pause(paused) {
    this.paused = paused;
    const button = byId('rain-pause');
    setText(button, paused ? 'Go on' : 'Pause');
    button.setAttribute('aria-pressed', String(paused));
  }

  /** The views to choose from and the chosen one; hidden when there is none. */
  offer(views, chosen) {
    byId('rain').hidden = chosen == null;
    byId('rain-pick').hidden = views.length < 2;
    if (this.select.dataset.views !== views.join()) {
      this.select.dataset.views = views.join();
      this.select.replaceChildren(...views.map((name) => element('option', { value: name }, name)));
    }
    if (chosen) this.select.value = chosen;
    if (this.view !== chosen) this.clear(chosen);
  }

  clear(view) {
    this.view = view;
    this.columns = null;
    this.shown = [];
    this.queue = [];
    this.host.replaceChildren();
    setText(byId('rain-note'), '');
  }

  rate(rowsPerSecond) {
    if (rowsPerSecond == null || this.view == null) return;
    const pace = rowsPerSecond > 20 ? `, a few of ${compact(rowsPerSecond)} each second` : '';
    setText(byId('rain-note'), `newest first${pace}`);
  }

  rows({ view, columns, kinds, rows }) {
    if (view !== this.view) return;
    if (this.columns !== columns.join()) this.head(columns, kinds, rows);
    if (this.paused || this.hovered || document.hidden) return;
    const keys = rows.map((row) => JSON.stringify(row));
    const known = this.shown.length ? keys.indexOf(this.shown[0]) : -1;
    const fresh = known < 0 ? rows : rows.slice(0, known);
    if (fresh.length === 0) return;
    this.shown[0] = keys[0];
    if (this.body.childElementCount === 0) {
      this.body.append(...rows.slice(0, VISIBLE).map((row) => this.line(row, false)));
      return;
    }
    this.queue = fresh.slice(0, DRIPS).reverse();
    this.step = 480 / this.queue.length;
    this.drip();
  }

  head(columns, kinds, sample) {
    this.columns = columns.join();
    this.kinds = kinds;
    const widths = columns.map((name, i) => {
      const longest = Math.max(...sample.map((row) => cell(row[i], kinds[i]).text.length), 4);
      return Math.min(Math.max(longest, name.length * 0.95), 34) + 3;
    });
    const total = widths.reduce((sum, width) => sum + width, 0);
    const group = element('colgroup', {}, ...widths.map((width) => {
      const column = element('col');
      column.style.width = `${(100 * width) / total}%`;
      return column;
    }));
    const cells = columns.map((name, i) => element('th', { scope: 'col', class: flushRight(kinds[i]) && 'num' }, name));
    this.body = element('tbody');
    const table = element('table', {}, group, element('thead', {}, element('tr', {}, ...cells)), this.body);
    table.style.minWidth = `${total * 8}px`;
    this.host.replaceChildren(table);
    this.shown = [];
  }

  line(row, fresh) {
    const cells = row.map((value, i) => {
      const { text, title, missing } = cell(value, this.kinds[i]);
      const style = [flushRight(this.kinds[i]) && 'num', missing && 'null'].filter(Boolean).join(' ');
      return element('td', { class: style || null, title }, text);
    });
    return element('tr', { class: fresh && 'new' }, ...cells);
  }

  drip() {
    clearTimeout(this.timer);
    const row = this.queue.shift();
    if (!row) return;
    this.body.prepend(this.line(row, true));
    while (this.body.childElementCount > VISIBLE) this.body.lastElementChild.remove();
    if (!still.matches) {
      this.body.animate(
        [{ transform: `translateY(-${ROW_PX}px)` }, { transform: 'none' }],
        { duration: Math.min(this.step, 220), easing: 'ease-out' },
      );
    }
    this.timer = setTimeout(() => this.drip(), this.step);
  }
}
