// Elements, texts for people, and small SVG charts. All text goes in as text, never as markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function put(parent, ...children) {
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false && child !== "") parent.append(child);
  }
  return parent;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  return put(node, ...children);
}

const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const shape = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const number = (value) => Number(value).toLocaleString("en-US");
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function rate(perSecond) {
  return perSecond >= 0.1 ? `${perSecond.toFixed(2)} jobs/s` : `${Math.round(perSecond * 3600)} jobs an hour`;
}

function bytes(count) {
  let power = 0;
  while (count >= 1024 && power < 5) { count /= 1024; power += 1; }
  return power ? `${count.toFixed(1)} ${"KMGTP"[power - 1]}iB` : `${count} bytes`;
}

const clock = (ts) => new Date(ts * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const seconds = (ts) => new Date(ts * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const moment = (ts) => new Date(ts * 1000).toLocaleString([], {dateStyle: "medium", timeStyle: "short", hourCycle: "h23"});
const shortKey = (key) => (key.length > 16 ? `${key.slice(0, 12)}…` : key);
const told = (value) => (value === null ? "none" : String(value));

// Round numbers to put at an axis, about so many.
function ticks(low, high, about) {
  const rough = (high - low) / Math.max(1, about) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(10)));
  return found;
}

function hourTicks(from, to, about) {
  const step = [1, 5, 15, 60, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400].find((one) => (to - from) / one <= about) ?? 172800;
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) found.push(at);
  return found;
}

// The frame of a chart: its SVG, and what turns numbers into places in it.
function chart(width, height, x, y, margin) {
  const inner = {left: margin[3], top: margin[0], right: width - margin[1], bottom: height - margin[2]};
  return {
    svg: shape("svg", {viewBox: `0 0 ${width} ${height}`, role: "img"}),
    x: (value) => inner.left + ((value - x[0]) / (x[1] - x[0] || 1)) * (inner.right - inner.left),
    y: (value) => inner.bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (inner.bottom - inner.top),
    ...inner,
  };
}

function leftAxis(frame, values, text) {
  for (const value of values) {
    const y = frame.y(value);
    put(frame.svg, shape("line", {class: "axis", x1: frame.left, x2: frame.right, y1: y, y2: y}),
      shape("text", {x: frame.left - 5, y: y + 4, "text-anchor": "end"}, text(value)));
  }
}

function bottomAxis(frame, values, text) {
  for (const value of values) {
    const x = frame.x(value);
    put(frame.svg, shape("line", {class: "axis", x1: x, x2: x, y1: frame.bottom, y2: frame.bottom + 4}),
      shape("text", {x, y: frame.bottom + 16, "text-anchor": "middle"}, text(value)));
  }
}

const tip = (text) => shape("title", null, text);
