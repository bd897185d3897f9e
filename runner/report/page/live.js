// A page that a run serves: it asks for what is new while it can be seen, and has buttons that tell the run what to do.
"use strict";

const EVERY_MS = 3000, AWAY_MS = 5000, RATE_S = 60;
// What the buttons do, and when there is one.
const ACTS = [
  ["pause", "Pause", (now) => now.state === "open" && now.left > 0],
  ["resume", "Resume", (now) => now.state !== "open"],
  ["retry", "Retry failed jobs", (now) => now.failed > 0],
];
const live = {data: null, known: "", trouble: "", seen: [], cards: new Map(), timer: 0, isAsking: false};

function follow(data) {
  live.data = data;
  live.known = data.live.known;
  hear(data.live.now);
  document.addEventListener("visibilitychange", () => { if (isSeen()) ask(); });
  later(EVERY_MS);
}

const isSeen = () => document.visibilityState === "visible";

function later(wait_ms) {
  clearTimeout(live.timer);
  live.timer = setTimeout(() => { if (isSeen()) ask(); }, wait_ms);
}

// Nothing is asked for while the page is hidden: the run then computes nothing for it.
async function ask(verb) {
  if (live.isAsking && !verb) return;
  live.isAsking = true;
  try {
    const answer = verb ? await fetch(verb, {method: "POST"}) : await fetch(`news?known=${live.known}`, {cache: "no-store"});
    if (answer.ok) {
      take(await answer.json());
      live.trouble = "";
    } else {
      live.trouble = answer.status === 503 ? await answer.text() : `the run answered ${answer.status}: open the link that it says now`;
    }
  } catch {
    const {now} = live;
    live.trouble = now.left ? "the run does not answer: it has ended, was killed, or cannot be reached from here. What is above and below is what it told last" : "the run has ended";
  } finally {
    live.isAsking = false;
  }
  draw();
  later(live.trouble ? AWAY_MS : EVERY_MS);
}

function take(news) {
  hear(news.now);
  if (news.campaigns) live.fresh = news;
  // Parts that somebody is reading or writing are not redrawn.
  if (live.fresh && !isBusy()) {
    live.data = {...live.data, campaigns: live.fresh.campaigns};
    live.known = live.fresh.known;
    live.fresh = null;
    redraw();
  }
}

const isBusy = () => Boolean(document.getElementById("large")?.open) || document.activeElement?.tagName === "INPUT" || !document.getSelection()?.isCollapsed;

function hear(now) {
  now.left = now.total - now.done - now.failed;
  live.now = now;
  live.seen = [...live.seen.filter((one) => now.at_ts - one.at_ts < RATE_S && one.done <= now.done), {at_ts: now.at_ts, done: now.done}];
}

// The page with newer rows, scrolled and unfolded as before.
function redraw() {
  const page = document.getElementById("page");
  const name = (details) => `${details.closest("section")?.querySelector("h2")?.textContent} ${[...page.querySelectorAll("details")].indexOf(details)}`;
  const open = new Set([...page.querySelectorAll("details[open]")].map(name));
  const down = scrollY;
  page.style.minHeight = `${page.offsetHeight}px`;
  show(live.data);
  for (const details of page.querySelectorAll("details")) details.open = open.has(name(details));
  scrollTo(0, down);
  page.style.minHeight = "";
}

function pace() {
  const {now, seen} = live;
  const took_s = now.at_ts - seen[0].at_ts, done = now.done - seen[0].done;
  if (live.trouble || now.state !== "open" || took_s < 4 || done < 2) return "";
  const perSecond = done / took_s;
  return `, ${rate(perSecond)}${now.left ? `, about ${span(now.left / perSecond)} to go` : ""}`;
}

function card(tab) {
  const name = tab.id || tab.name;
  const made = live.cards.get(name) ?? {
    image: html("img", {alt: `the last picture of ${tab.name}`}), none: html("span", {class: "none"}, "no picture yet"), does: html("p", {class: "small"}), job: html("figcaption"),
  };
  live.cards.set(name, made);
  const address = tab.shots ? `frame/${tab.id}/${tab.shots}` : "";
  // Keep the present picture until the next one has come.
  if (address && made.image.getAttribute("src") !== address) made.image.src = address;
  made.does.className = `small does ${tab.kind}`;
  made.does.textContent = live.trouble ? "what it showed last" : tab.does;
  made.job.textContent = tab.job ? shortKey(tab.job) : "\u00a0";
  made.job.title = tab.job;
  return html("div", {class: "tab"}, html("b", {class: "small"}, tab.name), html("div", {class: "picture"}, address ? made.image : made.none), made.job, made.does);
}

function button([verb, text, isThere]) {
  return isThere(live.now) && !live.trouble && html("button", {type: "button", id: verb, onclick: (event) => { event.target.disabled = true; ask(verb); }}, text);
}

function draw() {
  const place = document.getElementById("live");
  if (!place) return;
  const {now, trouble} = live;
  const {campaign} = live.data.campaigns[0].summary;
  // What was last heard of a run that does not answer is no longer so.
  const state = trouble && now.left ? "no answer" : now.fault ? "paused by itself" : now.state === "open" ? (now.left ? "at work" : "done") : now.state;
  const gone = new Set(live.cards.keys());
  for (const tab of now.tabs) gone.delete(tab.id || tab.name);
  for (const name of gone) live.cards.delete(name);
  document.title = `${Math.floor((100 * (now.done + now.failed)) / (now.total || 1))} % ${campaign}: ${state}`;
  place.replaceChildren();
  put(place, html("h1", null, `${campaign}: ${state}`),
    html("div", {class: "bar", role: "img", "aria-label": "shares of done and failed jobs"}, [["done", now.done], ["failed", now.failed], ["", now.left]].map(([name, count]) => count > 0 && html("i", {class: name, style: `flex: ${count} 0 0`}))),
    html("p", {role: "status"}, `${number(now.done)} of ${number(now.total)} done, ${number(now.failed)} failed, ${number(now.in_progress)} in progress${pace()}`, html("span", {class: "soft small"}, ` (${seconds(now.at_ts)})`)),
    now.fault && !trouble && html("p", {class: "suspect"}, `⚠ ${now.fault}`),
    trouble && html("p", {class: "failed", id: "trouble"}, `⚠ ${trouble}`),
    html("div", {class: "controls"}, ACTS.map(button)),
    html("div", {class: "tabs"}, now.tabs.map(card)));
}

// Where it is in the page.
function now(data) {
  if (!data.live) return null;
  queueMicrotask(draw);
  return html("section", {id: "live"});
}
