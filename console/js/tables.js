// Jobs, topics and dead letters.

import { byId, code, element, empty, setText, table } from './dom.js';
import { bytesText, clock, compact, millis, short, span, whole } from './format.js';

const number = (text, attributes = {}) => element('td', { class: 'num', ...attributes }, text);

/** Puts `make()` into the host, but not while the reader has text marked in it. */
function replace(host, make) {
  const selection = getSelection();
  if (selection && !selection.isCollapsed && host.contains(selection.anchorNode)) return;
  const { scrollLeft, scrollTop } = host;
  host.replaceChildren(make());
  Object.assign(host, { scrollLeft, scrollTop });
}

export function showJobs(jobs) {
  replace(byId('jobs-table'), () => {
    if (jobs.length === 0) {
      return empty('No jobs. ', code('CREATE MATERIALIZED VIEW … AS SELECT …'), ' starts one; it runs until the view is dropped.');
    }
    const head = [
      { name: 'job' }, { name: 'state' }, { name: 'in/s', num: true }, { name: 'out/s', num: true },
      { name: 'lag', num: true }, { name: 'p99 ms', num: true }, { name: 'epoch', num: true },
    ];
    return table(head, jobs.flatMap(jobRows));
  });
}

function jobRows(job) {
  const row = element('tr', {},
    element('td', { class: 'mono' }, job.name, element('span', { class: 'sub' }, job.kind === 'sink' ? 'sink' : '')),
    element('td', {}, element('span', { class: `state ${job.state}` }, job.state)),
    number(job.in_rate == null ? '–' : compact(job.in_rate)),
    number(job.out_rate == null ? '–' : compact(job.out_rate)),
    number(job.kind === 'sink' ? `${compact(job.lag_events)} epochs` : short(job.lag_events).join('')),
    number(millis(job.latency_ms_p99)),
    number(whole(job.epoch)));
  if (!job.error) return [row];
  return [row, element('tr', { class: 'reason' }, element('td', { colspan: '7' }, job.error))];
}

export function showTopics(topics, kafka) {
  replace(byId('topics-table'), () => {
    if (topics.length === 0) {
      const address = kafka ?? '127.0.0.1:9092';
      return empty('No topics. A stream makes its own; or produce to one with any Kafka client: ',
        code(`kcat -b ${address} -t payments -P`));
    }
    const head = [
      { name: 'topic' }, { name: 'events/s', num: true }, { name: 'kept', num: true },
      { name: 'size', num: true }, { name: 'for', num: true },
    ];
    return table(head, topics.map((topic) => element('tr', {},
      element('td', { class: 'mono' }, topic.name, element('span', { class: 'sub' }, `×${topic.partitions}`)),
      number(topic.rate == null ? '–' : compact(topic.rate)),
      number(compact(topic.events)),
      number(bytesText(topic.bytes)),
      number(span(topic.retention_ms), { title: topic.retention_bytes ? `at most ${bytesText(topic.retention_bytes)}` : null }))));
  });
}

export function showDeadLetters(letters, total) {
  setText(byId('dead-note'), total > letters.length ? `the newest ${letters.length} of ${compact(total)}` : '');
  replace(byId('dead-table'), () => {
    if (letters.length === 0) {
      return empty('None. An event that cannot become a row is kept here with the reason, and the rest goes on.');
    }
    const head = [{ name: 'at' }, { name: 'from' }, { name: 'reason' }, { name: 'event' }];
    return table(head, letters.map((letter) => element('tr', {},
      element('td', { title: letter.at == null ? null : new Date(letter.at).toISOString() }, letter.at == null ? '–' : clock(letter.at)),
      element('td', { class: 'mono' }, letter.topic ?? letter.stream, element('span', { class: 'sub' }, `${letter.partition}:${letter.offset}`)),
      element('td', { class: 'wrap' }, letter.reason ?? ''),
      element('td', { class: 'mono clip', title: letter.value }, letter.value ?? ''))));
  });
}
