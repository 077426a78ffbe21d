// One card per view: what the server drew for it, or its newest rows.

import { byId, element, empty, setText, table } from './dom.js';
import { cell, compact, flushRight, tick } from './format.js';
import { Plot } from './plot.js';

const SPAN_S = 120;
const POINTS = SPAN_S * 4;

export class Views {
  constructor(onWatch) {
    this.cards = new Map();
    this.onWatch = onWatch;
    this.visible = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const card = this.cards.get(entry.target.dataset.view);
        if (card) card.visible = entry.isIntersecting;
      }
      onWatch();
    }, { rootMargin: '80px' });
  }

  /** The names of the views whose cards can be seen and show this: 'Chart' or 'Rows'. */
  watched(mode) {
    const cards = [...this.cards.values()].filter((card) => card.visible && card.wanted === mode);
    return cards.map((card) => card.view.name);
  }

  offer(views) {
    byId('views').hidden = views.length === 0;
    const names = new Set(views.map((view) => view.name));
    for (const [name, card] of this.cards) {
      if (names.has(name)) continue;
      this.visible.unobserve(card.host);
      card.remove();
      this.cards.delete(name);
    }
    for (const view of views) {
      let card = this.cards.get(view.name);
      if (!card) {
        card = new Card(view, this.onWatch);
        this.cards.set(view.name, card);
        byId('cards').append(card.host);
        this.visible.observe(card.host);
      }
      card.describe(view);
    }
  }

  chart(message) {
    this.cards.get(message.view)?.chart(message);
  }

  rows(message) {
    this.cards.get(message.view)?.rows(message);
  }

  /** Rates of append-only views come with every status. */
  status(status) {
    const rates = new Map(status.jobs.map((job) => [job.name, job.out_rate]));
    for (const [name, card] of this.cards) card.rate(status.at, rates.get(name));
  }
}

class Card {
  constructor(view, onWatch) {
    this.view = view;
    this.onWatch = onWatch;
    this.rateData = [[], []];
    this.title = element('h3', { title: view.name }, view.name);
    this.count = element('p', { class: 'rows' });
    this.what = element('p', { class: 'what' });
    this.body = element('div', { class: 'body' });
    const choice = (name) => element('button', {
      type: 'button', 'aria-pressed': String(name === 'Chart'), onclick: () => this.mode(name),
    }, name);
    this.choices = [choice('Chart'), choice('Rows')];
    this.toggle = element('span', { class: 'toggle', role: 'group', 'aria-label': `Show ${view.name} as` }, ...this.choices);
    const head = element('header', {}, this.title, this.count, this.toggle);
    this.host = element('section', { class: 'panel card', 'data-view': view.name, 'aria-label': `View ${view.name}` },
      head, this.what, this.body);
    this.wanted = 'Chart';
    this.waiting();
  }

  describe(view) {
    this.view = view;
    setText(this.count, view.rows == null ? '' : `${compact(view.rows)} rows`);
  }

  waiting() {
    this.clear();
    this.body.append(empty('No rows yet.'));
  }

  clear() {
    this.plot?.remove();
    this.plot = null;
    this.kind = null;
    this.body.replaceChildren();
  }

  mode(name) {
    this.wanted = name;
    this.choices.forEach((button) => button.setAttribute('aria-pressed', String(button.textContent === name)));
    this.clear();
    if (name === 'Chart' && this.last) this.chart(this.last);
    this.onWatch();
  }

  rate(at, value) {
    if (this.view.chart !== 'rate') return;
    const [times, values] = this.rateData;
    times.push(at / 1000);
    values.push(value ?? null);
    if (times.length > POINTS) { times.shift(); values.shift(); }
    if (this.wanted === 'Chart' && this.visible && times.length > 1) this.line(['rows/s'], this.rateData, false, '--out');
  }

  chart(message) {
    this.last = message;
    setText(this.what, message.title);
    if (this.wanted !== 'Chart') return;
    if (message.kind === 'line' && message.x.length > 0) {
      const data = [message.x.map((ms) => ms / 1000), ...message.series.map((one) => one.values)];
      this.line(message.series.map((one) => one.name), data, message.x.length < 40, '--in');
    } else if (message.kind === 'bars' && message.items.length > 0) this.bars(message.items);
    else if (message.kind === 'rows') this.mode('Rows');
    else if (message.kind !== 'rate' && this.kind !== 'none') { this.waiting(); this.kind = 'none'; }
  }

  line(names, data, points, paint) {
    const kind = `line ${names.join()} ${points}`;
    if (this.kind !== kind) {
      this.clear();
      this.kind = kind;
      const host = element('div', { class: 'plot' });
      this.body.append(host);
      const paints = [paint, '--out', '--warm'];
      this.plot = new Plot(host, {
        series: names.map((name, i) => ({ name, colour: paints[i % 3], fill: i === 0 && paint === '--in' ? '--in-fill' : undefined })),
        format: tick,
        points,
        range: this.view.chart === 'rate' ? () => [data[0].at(-1) - SPAN_S, data[0].at(-1)] : undefined,
      });
    }
    this.plot.show(data);
  }

  bars(items) {
    if (this.kind !== 'bars') {
      this.clear();
      this.kind = 'bars';
      this.list = element('ol', { class: 'bars' });
      this.body.append(this.list);
    }
    while (this.list.childElementCount < items.length) {
      this.list.append(element('li', {}, element('span', { class: 'bar' }), element('span', { class: 'name' }), element('span', { class: 'value' })));
    }
    while (this.list.childElementCount > items.length) this.list.lastElementChild.remove();
    const most = Math.max(...items.map((item) => Math.abs(item.value ?? 0)), Number.MIN_VALUE);
    items.forEach(({ name, value }, i) => {
      const [bar, label, number] = this.list.children[i].children;
      bar.style.transform = `scaleX(${Math.abs(value ?? 0) / most})`;
      setText(label, name ?? 'NULL');
      label.title = name ?? '';
      setText(number, value == null ? '–' : compact(value));
    });
  }

  rows({ columns, kinds, rows }) {
    if (this.wanted !== 'Rows') return;
    if (rows.length === 0) { this.waiting(); return; }
    const head = columns.map((name, i) => ({ name, num: flushRight(kinds[i]) }));
    const lines = rows.map((row) => element('tr', {}, ...row.map((value, i) => {
      const { text, title, missing } = cell(value, kinds[i]);
      return element('td', { class: [flushRight(kinds[i]) && 'num', missing && 'null'].filter(Boolean).join(' ') || null, title }, text);
    })));
    const left = this.kind === 'rows' ? this.body.firstChild.scrollLeft : 0;
    this.clear();
    this.kind = 'rows';
    const scroll = element('div', { class: 'scroll', tabindex: '0' }, table(head, lines));
    this.body.append(scroll);
    scroll.scrollLeft = left;
  }

  remove() {
    this.clear();
    this.host.remove();
  }
}
