// The charts: the night's rate, a lane a browser, job times, and two values of the jobs against each other.
"use strict";

// Bins are joined until each has some jobs: a rate from single jobs means nothing.
function joined(hours) {
  const jobs = hours.done.reduce((a, b) => a + b, 0);
  const times = Math.ceil(hours.done.length / Math.max(20, Math.min(240, jobs / 8)));
  const sums = (counts) => Array.from({length: Math.ceil(counts.length / times)}, (_, at) => counts.slice(at * times, (at + 1) * times).reduce((a, b) => a + b, 0));
  return {bin_s: hours.bin_s * times, done: sums(hours.done), failed: sums(hours.failed)};
}

function nightChart(hours, width) {
  const bins = hours.done.length;
  const end = hours.start_ts + bins * hours.bin_s;
  const rates = joined(hours);
  const perMinute = (count) => (count * 60) / rates.bin_s;
  const most = Math.max(...rates.done.map((count, at) => count + rates.failed[at]), 1);
  const lanesHeight = hours.lanes.length * 18;
  const height = 190 + lanesHeight + 24;
  const narrow = width < 520;
  const frame = chart(width, 190, [hours.start_ts, end], [0, perMinute(most) * 1.08], [14, 8, 8, narrow ? 52 : 86]);
  frame.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  leftAxis(frame, ticks(0, perMinute(most) * 1.08, 4), (value) => number(value));
  put(frame.svg, shape("text", {x: frame.left, y: 10}, "jobs a minute"));
  for (const stop of hours.stops) {
    const from = Math.max(stop.from_ts, hours.start_ts), to = Math.min(stop.to_ts, end);
    put(frame.svg, shape("rect", {class: "stop", x: frame.x(from), y: frame.top, width: Math.max(2, frame.x(to) - frame.x(from)), height: frame.bottom - frame.top + lanesHeight},
      tip(`${clock(from)} paused for ${span(stop.to_ts - stop.from_ts)}: ${stop.message}`)),
      shape("text", {x: frame.x((from + to) / 2), y: frame.top + 10, "text-anchor": "middle"}, "pause"));
  }
  rates.done.forEach((count, at) => {
    const left = frame.x(hours.start_ts + at * rates.bin_s), right = frame.x(Math.min(end, hours.start_ts + (at + 1) * rates.bin_s));
    const bar = (name, from, to) => to > from && put(frame.svg, shape("rect", {class: name, x: left, width: Math.max(0.5, right - left - 0.4), y: frame.y(perMinute(to)), height: frame.y(perMinute(from)) - frame.y(perMinute(to))},
      tip(`${clock(hours.start_ts + at * rates.bin_s)}: ${count} done, ${rates.failed[at]} tries failed in ${span(rates.bin_s)}`)));
    bar("rate", 0, count);
    bar("ratefailed", count, count + rates.failed[at]);
  });
  hours.lanes.forEach((lane, row) => {
    const top = 192 + row * 18;
    put(frame.svg, shape("text", {x: frame.left - 5, y: top + 12, "text-anchor": "end"}, narrow ? lane.name.replace("browser", "b") : lane.name.slice(0, 14)));
    lane.busy.forEach((share, at) => {
      const left = frame.x(hours.start_ts + at * hours.bin_s), wide = (frame.right - frame.left) / bins;
      const about = `${lane.name} ${clock(hours.start_ts + at * hours.bin_s)}: at work ${Math.round(share * 100)} %${lane.failed[at] ? `, ${lane.failed[at]} tries failed` : ""}`;
      if (share > 0) put(frame.svg, shape("rect", {class: "busy", "fill-opacity": 0.15 + 0.7 * share, x: left, y: top, width: wide + 0.2, height: 14}, tip(about)));
      if (lane.failed[at]) put(frame.svg, shape("rect", {class: "tried", x: left, y: top + 9, width: Math.max(wide, 2), height: 5}, tip(about)));
    });
    for (const ts of lane.began_ts.slice(1)) {
      const x = frame.x(ts);
      put(frame.svg, shape("path", {class: "began", d: `M${x - 3.5} ${top}h7l-3.5 6z`}, tip(`${clock(ts)} ${lane.name} was replaced`)));
    }
  });
  for (const mark of hours.marks) {
    const x = frame.x(mark.ts);
    put(frame.svg, shape("line", {class: `mark ${isRoutine(mark) ? "routine" : ""}`, x1: x, x2: x, y1: frame.top, y2: frame.bottom + lanesHeight},
      tip(`${clock(mark.ts)} ${mark.kind}: ${mark.message}`)));
  }
  const foot = {...frame, bottom: 190 + lanesHeight + 2};
  bottomAxis(foot, hourTicks(hours.start_ts, end, narrow ? 4 : 9), end - hours.start_ts < 300 ? seconds : clock);
  return frame.svg;
}

const isRoutine = (mark) => mark.kind === "recycle";

function nightLegend() {
  const sample = (name, text) => html("span", null, shape("svg", {viewBox: "0 0 12 10", style: "display:inline-block;width:12px;height:10px"}, shape("rect", {class: name, width: 12, height: 10})), ` ${text}`);
  return html("div", {class: "legend"}, sample("rate", "done"), sample("ratefailed", "tries that failed"), sample("stop", "paused"),
    html("span", null, "│ an event of the run"), html("span", null, "┊ replaced as planned"), html("span", null, "▾ a new browser"));
}

function timesChart(spread, width) {
  const most = Math.max(...spread.counts, 1), last = spread.edges_s.length - 1;
  const unit = [[0.001, "ms"], [1, "s"], [60, "min"], [3600, "h"]].findLast(([seconds]) => spread.edges_s[last] >= 3 * seconds) ?? [0.001, "ms"];
  const frame = chart(width, 180, [0, spread.edges_s[last]], [0, most * 1.05], [8, 12, 24, 56]);
  leftAxis(frame, ticks(0, most, 4), number);
  spread.counts.forEach((count, at) => {
    const left = frame.x(spread.edges_s[at]), right = frame.x(spread.edges_s[at + 1]);
    put(frame.svg, shape("rect", {class: "bins", x: left, width: Math.max(1, right - left - 1), y: frame.y(count), height: frame.bottom - frame.y(count)},
      tip(`${plural(count, "job", "jobs")} took ${span(spread.edges_s[at])} to ${span(spread.edges_s[at + 1])}`)));
  });
  bottomAxis(frame, ticks(0, spread.edges_s[last] / unit[0], width < 520 ? 4 : 8).map((value) => value * unit[0]), (value) => `${number(value / unit[0])} ${unit[1]}`);
  return frame.svg;
}

// Numbers keep their values; words are put in a row, in alphabetical order.
function scaleOf(points, name) {
  const values = points.map((point) => point.values[name]).filter((value) => value !== undefined && value !== null);
  if (values.every((value) => typeof value === "number")) {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = (high - low) * 0.03 || 1;
    return {range: [low - room, high + room], at: (value) => value, ticks: (about) => ticks(low, high, about), text: (value) => number(value)};
  }
  const words = [...new Set(values.map(String))].sort();
  return {range: [-0.6, words.length - 0.4], at: (value) => words.indexOf(String(value)) + wobble(), text: (at) => words[at].slice(0, 10),
    ticks: (about) => words.map((_, at) => at).filter((at) => at % Math.ceil(words.length / about) === 0)};
}

let turn = 0;
// Points of one word are put beside each other.
const wobble = () => ((turn = (turn * 16807 + 7) % 2147483647) % 1000) / 2000 - 0.25;

function plot(points, xName, yName, width, onPick) {
  const x = scaleOf(points, xName), y = scaleOf(points, yName);
  const frame = chart(width, Math.min(420, Math.max(260, width * 0.45)), x.range, y.range, [10, 10, 26, 64]);
  leftAxis(frame, y.ticks(6), y.text);
  bottomAxis(frame, x.ticks(width < 520 ? 4 : 8), x.text);
  const order = {done: 0, suspect: 1, failed: 2};
  for (const point of [...points].sort((a, b) => order[a.outcome] - order[b.outcome])) {
    const values = [point.values[xName], point.values[yName]];
    if (values.some((value) => value === undefined || value === null)) continue;
    const left = frame.x(x.at(values[0])), top = frame.y(y.at(values[1]));
    const path = {done: `M${left - 3} ${top}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`, failed: `M${left - 4} ${top - 4}l8 8m0 -8l-8 8`, suspect: `M${left} ${top - 6}l6 10h-12z`}[point.outcome];
    put(frame.svg, shape("path", {class: `point ${point.outcome}`, d: path, onclick: () => onPick(point)},
      tip(`${point.key} ${point.outcome}${point.reason ? `: ${point.reason}` : ""}`)));
  }
  return frame.svg;
}
