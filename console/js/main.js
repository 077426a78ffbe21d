// Puts the page together: one connection, and who gets which message.

import { byId, setText } from './dom.js';
import { clock } from './format.js';
import { Live } from './live.js';
import { Overview } from './overview.js';
import { Rain } from './rain.js';
import { Sql } from './sql.js';
import { showDeadLetters, showJobs, showTopics } from './tables.js';
import { Views } from './views.js';

let hello = {};
let lastHeard = null;
let chosenView = null;
let lastJobs = 0;

const overview = new Overview();
const sql = new Sql();
const rain = new Rain((view) => { chosenView = view; rain.offer(appendViews, view); ask(); });
const views = new Views(() => ask());
let appendViews = [];

const live = new Live((state) => {
  document.body.dataset.connection = state;
  const since = lastHeard ? ` since ${clock(lastHeard)}` : '';
  setText(byId('connection-text'), state === 'live' ? 'Live' : `Disconnected${since}, trying again`);
});

function ask() {
  const rows = new Set(views.watched('Rows'));
  if (chosenView) rows.add(chosenView);
  live.watch(...(document.hidden ? [[], []] : [views.watched('Chart'), [...rows]]));
}

document.addEventListener('visibilitychange', ask);

live.on('hello', (message) => {
  hello = message;
  overview.history(message.history);
  sql.hint(message.postgres);
  setText(byId('footer-text'), `Pluvio ${message.version}. Times are UTC. Every number here is measured by the running system.`);
});

live.on('status', (status) => {
  lastHeard = status.at;
  overview.status(status);
  views.status(status);
  const job = status.jobs.find(({ name }) => name === chosenView);
  rain.rate(job?.out_rate);
  if (status.at - lastJobs >= 1000 || status.at < lastJobs) {
    lastJobs = status.at;
    showJobs(status.jobs);
  }
});

live.on('catalog', (catalog) => {
  const nothing = catalog.views.length === 0 && catalog.topics.length === 0;
  byId('welcome').hidden = !nothing;
  for (const id of ['lines', 'jobs', 'dead']) byId(id).hidden = nothing;
  appendViews = catalog.views.filter((view) => view.kind === 'append').map((view) => view.name);
  if (!appendViews.includes(chosenView)) chosenView = catalog.main ?? appendViews[0] ?? null;
  rain.offer(appendViews, chosenView);
  views.offer(catalog.views);
  sql.chips(catalog.views.map((view) => view.name));
  showTopics(catalog.topics, hello.kafka);
  showDeadLetters(catalog.dead_letters, catalog.dead_letters_total);
  ask();
});

live.on('rows', (message) => { rain.rows(message); views.rows(message); });
live.on('chart', (message) => views.chart(message));
