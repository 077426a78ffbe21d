// Lines over time, drawn by uPlot in the colours of the style sheet.

import { colour } from './dom.js';

const uPlot = window.uPlot;
const dark = matchMedia('(prefers-color-scheme: dark)');

/**
 * A chart that fills its element and redraws itself when the element's size or
 * the colour scheme changes.
 *
 * options: series [{name, colour (a style variable), fill}], format (value → text),
 * range ([from, to] in seconds, asked at each drawing; absent: the data's own),
 * points (draw them), onValues (index or null → legend).
 */
export class Plot {
  constructor(host, options) {
    this.host = host;
    this.options = options;
    this.data = [[], ...options.series.map(() => [])];
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(host);
    this.rebuild = () => this.build();
    dark.addEventListener('change', this.rebuild);
    this.build();
  }

  build() {
    this.plot?.destroy();
    const { series, format, range, onValues, points } = this.options;
    const [ink, rule] = [colour('--faint'), colour('--rule')];
    const font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, grid: { stroke: rule, width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      ...this.size(),
      padding: [10, 26, 0, 4],
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      hooks: { setCursor: [(plot) => onValues?.(plot.cursor.idx)] },
      scales: {
        x: { range: range ? () => range() : (_, from, to) => this.span(from, to) },
        y: { range: (_, low, high) => [Math.min(0, low ?? 0), roof(high)] },
      },
      axes: [
        { ...axis, grid: { show: false }, gap: 6, size: 28, space: 90, values: (_, at) => timeLabels(at) },
        { ...axis, gap: 8, size: 58, space: 34, values: (_, at) => at.map((value) => (value == null ? '' : format(value))) },
      ],
      series: [{}, ...series.map((one) => ({
        label: one.name,
        stroke: colour(one.colour),
        width: 1.75,
        fill: one.fill ? colour(one.fill) : undefined,
        points: { show: points ?? false, size: 5 },
        spanGaps: false,
      }))],
    }, this.data, this.host);
  }

  /** The range of the data; one point alone, which uPlot stretches over years, stands in the middle of two minutes. */
  span(from, to) {
    return this.data[0].length === 1 ? [this.data[0][0] - 60, this.data[0][0] + 60] : [from, to];
  }

  size() {
    return { width: Math.max(this.host.clientWidth - 12, 50), height: Math.max(this.host.clientHeight - 6, 50) };
  }

  resize() {
    const { width, height } = this.size();
    if (width !== this.plot.width || height !== this.plot.height) this.plot.setSize({ width, height });
  }

  show(data) {
    this.data = data;
    this.plot.setData(data);
  }

  remove() {
    this.observer.disconnect();
    dark.removeEventListener('change', this.rebuild);
    this.plot.destroy();
  }
}

/** A round number above the data, so that the scale does not tremble. */
function roof(high) {
  if (!(high > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(high)) / 4;
  return Math.ceil((high * 1.08) / step) * step;
}

/** As much of the instants as tells them apart, in UTC. */
function timeLabels(at) {
  const texts = at.map((seconds) => new Date(seconds * 1000).toISOString());
  const apart = at.length > 1 ? at[1] - at[0] : 1;
  if (apart >= 86400) return texts.map((text) => text.slice(0, 10));
  if (apart >= 3 * 3600) return texts.map((text) => text.slice(5, 16).replace('T', ' '));
  return texts.map((text) => text.slice(11, apart % 60 === 0 ? 16 : 19));
}
