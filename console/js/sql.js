// The SQL box: posts a statement, shows rows or the error with its place.

import { byId, element, setText, table } from './dom.js';
import { cell, whole, flushRight } from './format.js';

const EXAMPLE = `CREATE STREAM clicks (page VARCHAR, ms BIGINT, at TIMESTAMP)
  WITH (topic = 'clicks', format = 'json');
CREATE MATERIALIZED VIEW by_page AS
  SELECT page, count(*) AS clicks, sum(ms) AS ms FROM clicks GROUP BY page;`;

export class Sql {
  constructor() {
    this.text = byId('sql-text');
    this.result = byId('sql-result');
    byId('sql-form').addEventListener('submit', (event) => { event.preventDefault(); this.run(); });
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.run(); }
    });
    byId('welcome-sql').addEventListener('click', () => { this.put(EXAMPLE); });
    this.chips([]);
  }

  hint(postgres) {
    if (!postgres) return;
    const [host, port] = [postgres.slice(0, postgres.lastIndexOf(':')), postgres.slice(postgres.lastIndexOf(':') + 1)];
    byId('sql-hint').replaceChildren('or from a shell: ', element('code', {}, `psql -h ${host} -p ${port}`));
  }

  /** Offers a query per view, and the system's tables. */
  chips(views) {
    const queries = [
      ...views.slice(0, 3).map((name) => [name, `SELECT * FROM ${name} LIMIT 50`]),
      ['jobs', 'SELECT * FROM pluvio.jobs'],
      ['epochs', 'SELECT * FROM pluvio.epochs ORDER BY committed_at DESC LIMIT 50'],
    ];
    const key = queries.map(([name]) => name).join();
    const host = byId('sql-chips');
    if (host.dataset.key === key) return;
    host.dataset.key = key;
    host.replaceChildren(...queries.map(([name, query]) => element('button', {
      type: 'button', onclick: () => { this.put(query); this.run(); },
    }, name)));
    if (!this.text.value) this.text.value = queries[0][1];
  }

  put(query) {
    this.text.value = query;
    this.text.focus();
    byId('sql').scrollIntoView({ block: 'nearest' });
  }

  async run() {
    const sql = this.text.value;
    if (!sql.trim()) return;
    const button = byId('sql-run');
    button.disabled = true;
    setText(button, 'Running');
    const started = performance.now();
    try {
      const response = await fetch('/sql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sql }),
      });
      const answer = await response.json();
      const took = performance.now() - started;
      this.result.replaceChildren(...(answer.error ? [this.error(answer.error, sql)] : answer.results.flatMap((one) => show(one, took))));
    } catch {
      this.result.replaceChildren(this.error({ message: 'The server did not answer. Is it still running?' }, sql));
    } finally {
      button.disabled = false;
      setText(button, 'Run');
    }
  }

  error({ message, line, column }, sql) {
    const place = line ? element('pre', {}, `${sql.split('\n')[line - 1]}\n${' '.repeat(Math.max(column - 1, 0))}^`) : null;
    return element('div', { class: 'error', role: 'alert' }, line ? `Line ${line}, column ${column}: ${message}` : message, place);
  }
}

function show(result, took) {
  if (result.tag) return [element('p', { class: 'summary' }, result.tag)];
  const { columns, kinds, rows, more } = result;
  const counted = rows.length === 1 ? '1 row' : `${whole(rows.length)} rows`;
  const summary = `${counted}${more ? ' shown, there are more' : ''} · ${whole(took)} ms`;
  const head = columns.map((name, i) => ({ name, num: flushRight(kinds[i]) }));
  const lines = rows.map((row) => element('tr', {}, ...row.map((value, i) => {
    const { text, title, missing } = cell(value, kinds[i]);
    const style = [flushRight(kinds[i]) && 'num', missing && 'null'].filter(Boolean).join(' ');
    return element('td', { class: style || null, title }, text);
  })));
  return [
    element('p', { class: 'summary' }, summary),
    element('div', { class: 'scroll', tabindex: '0', 'aria-label': 'Result' }, table(head, lines)),
  ];
}
