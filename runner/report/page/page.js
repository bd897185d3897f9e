// The page: draws what is in its data. show(data) may be called again with newer data.
"use strict";

const FIRST_ROWS = 50, FIRST_PAIRS = 9;
let chosen = 0;
// The user's choices, which stay when the page is redrawn.
const axes = {x: "", y: ""};
let sought = "";

function copied(text) {
  const button = html("button", {type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page from a file may have no clipboard.
      const area = html("textarea", null, text);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }}, "copy");
  return button;
}

const command = (text) => html("div", {class: "command"}, html("code", null, text), copied(text));
const part = (title, ...children) => html("section", null, html("h2", null, title), ...children);
const fact = (name, ...value) => html("div", null, html("dt", null, name), html("dd", null, ...value));

function head(data, campaign) {
  const {summary} = campaign;
  const sign = summary.failed ? "✗" : summary.pending + summary.in_progress ? "…" : "✓";
  const state = summary.failed ? "failed" : "done";
  const shares = [["done", summary.done - summary.suspect_count], ["suspect", summary.suspect_count], ["failed", summary.failed]];
  const time = summary.duration_s, run = summary.last_run, disk = summary.disk;
  return html("header", null,
    data.campaigns.length > 1 && html("div", {class: "controls"}, html("select", {"aria-label": "campaign", onchange: (event) => { chosen = Number(event.target.value); show(data); }},
      data.campaigns.map((one, at) => html("option", {value: at, selected: at === chosen}, one.summary.verdict)))),
    html("h1", null, html("span", {class: state}, `${sign} `), summary.verdict),
    html("p", {class: "soft small"}, `as of ${moment(summary.made_ts)}`),
    html("div", {class: "bar", role: "img", "aria-label": "shares of done, suspect and failed jobs"}, shares.map(([name, count]) => count > 0 && html("i", {class: name, style: `flex: ${count} 0 0; min-width: 3px`, title: `${number(count)} ${name}`})),
      summary.total > summary.done + summary.failed && html("i", {style: `flex: ${summary.total - summary.done - summary.failed} 0 0`})),
    html("dl", {class: "facts"},
      fact("done", html("b", {class: "done"}, number(summary.done)), ` of ${number(summary.total)}`, summary.done_after_retry ? html("span", {class: "soft small"}, `, ${number(summary.done_after_retry)} after a retry`) : ""),
      fact("failed", html("b", {class: summary.failed ? "failed" : ""}, number(summary.failed))),
      fact("may be wrong", html("b", {class: summary.suspect_count ? "suspect" : ""}, number(summary.suspect_count))),
      fact("left", html("b", null, number(summary.pending + summary.in_progress))),
      summary.jobs_per_s && fact("rate", `${rate(summary.jobs_per_s)}, over ${span(summary.active_s)} in ${plural(summary.runs, "run", "runs")}`),
      run && summary.runs > 1 && fact("last run", `${number(run.done)} done in ${span(run.seen_ts - run.started_ts)}`),
      time && fact("job time", `median ${span(time.median)}, 95 % within ${span(time.p95)}`),
      disk && disk.used + disk.left > disk.free / 100 && fact("disk", `about ${bytes(disk.used)} used, ${bytes(disk.free)} free`)),
    changes(summary.since));
}

function changes(since) {
  if (!since) return null;
  const signed = (count) => `${count > 0 ? "+" : "−"}${number(Math.abs(count))}`;
  const counts = [["done", since.done], ["failed", since.failed], ["may be wrong", since.suspects]].filter(([, count]) => count);
  return html("p", null, html("b", null, `Since the report of ${moment(since.made_ts)}: `),
    counts.length ? counts.map(([name, count]) => `${signed(count)} ${name}`).join(", ") : "nothing new",
    since.new_reasons.length > 0 && html("span", null, ". New: ", since.new_reasons.slice(0, 5).join("; ")),
    since.gone_reasons.length > 0 && html("span", {class: "soft"}, ". No more: ", since.gone_reasons.slice(0, 5).join("; ")));
}

function spreadOver(group, summary) {
  const atWork = summary.sessions.filter((session) => session.done || session.tries).length;
  if (!group.sessions || atWork < 2) return "";
  const where = `in ${group.sessions} of ${atWork} sessions`;
  if (group.sessions === 1 && group.count > 2) return `${where}: look at that browser`;
  if (group.sessions >= atWork * 0.5) return `${where}: it is the jobs or the scene, not a browser`;
  return where;
}

function reasons(campaign) {
  const {summary} = campaign;
  if (!summary.failures.length) return null;
  const group = (one) => html("div", {class: "reason"},
    html("h3", null, `${number(one.count)} × ${one.reason.slice(0, 200)}`),
    html("p", {class: "small soft"}, spreadOver(one, summary)),
    html("p", {class: "small"}, "for example ", html("code", null, one.key), one.example !== one.reason && `: ${one.example}`),
    one.traceback.length > 0 && html("details", null, html("summary", {class: "small"}, "end of the traceback"), html("pre", null, one.traceback.join("\n"))),
    one.evidence && html("div", {class: "command"}, html("code", null, one.evidence), copied(one.evidence)));
  const more = summary.failures.slice(10);
  return part("Why jobs failed", summary.failures.slice(0, 10).map(group),
    more.length > 0 && html("details", null, html("summary", null, `and ${number(summary.failure_reasons - 10)} more reasons`), more.map(group)));
}

function pairs(campaign, title, all, count, text) {
  if (!all.length) return null;
  const pair = (shown) => html("div", {class: "pair"},
    (shown.picture || shown.neighbour?.picture) && html("div", {class: "two"}, picture(campaign, shown),
      shown.neighbour ? picture(campaign, shown.neighbour, `beside it: ${shortKey(shown.neighbour.key)}`) : html("span", null)),
    html("p", {class: "small"}, html("b", {class: shown.outcome}, shown.outcome), `: ${shown.reason.slice(0, 160)}`, html("span", {class: "soft"}, ` ${shown.session}`)),
    valuesOf(shown, 8));
  const more = all.slice(FIRST_PAIRS);
  return part(title, html("p", {class: "soft small"}, text, count > all.length && ` ${all.length} of ${number(count)} can be seen here.`),
    html("div", {class: "pairs"}, all.slice(0, FIRST_PAIRS).map(pair)),
    more.length > 0 && html("details", null, html("summary", null, `${more.length} more`), html("div", {class: "pairs"}, more.map(pair))));
}

function reasonsBySession({summary}) {
  if (!summary.tries.length) return null;
  const names = summary.sessions.filter((session) => session.tries).sort((a, b) => b.tries - a.tries).slice(0, 16).map((session) => session.name);
  // Half of a reason's tries in one session is worth a look at it.
  const cell = (count, all) => (count ? html(names.length > 2 && count > 3 && 2 * count >= all ? "b" : "span", null, number(count)) : html("span", {class: "soft"}, "·"));
  const others = (row) => row.count - names.reduce((sum, name) => sum + (row.by_session[name] ?? 0), 0);
  const hasOthers = summary.tries.some((row) => others(row) > 0);
  return part("Reasons and sessions", html("p", {class: "soft small"}, "Tries that failed or crashed, including those of jobs that were done later. A column that stands out means a bad browser; a full row, the scene or the jobs."),
    html("div", {class: "wide"}, html("table", null,
      html("thead", null, html("tr", null, html("th", null, "reason"), html("th", {class: "number"}, "tries"), names.map((name) => html("th", {class: "number"}, name.replace("browser-", "b-"))), hasOthers && html("th", {class: "number"}, "others"))),
      html("tbody", null, summary.tries.slice(0, 20).map((row) => html("tr", null, html("td", {class: "reasoned"}, row.reason.slice(0, 140)), html("td", {class: "number"}, number(row.count)),
        names.map((name) => html("td", {class: "number"}, cell(row.by_session[name] ?? 0, row.count))),
        hasOthers && html("td", {class: "number"}, number(others(row)))))))));
}

function events(summary) {
  const routine = summary.events.filter((event) => event.is_routine);
  const told = summary.events.filter((event) => !event.is_routine);
  const count = routine.reduce((sum, event) => sum + event.count, 0);
  return html("ul", {class: "small"},
    told.slice(0, 30).map((event) => html("li", null, `${moment(event.first_ts)} ${event.kind}: ${event.message}`, event.count > 1 && ` (${number(event.count)} times)`)),
    count > 0 && html("li", null, `${plural(count, "browser was", "browsers were")} replaced as planned: ${routine.map((event) => `${event.message} (${number(event.count)})`).join("; ")}`));
}

function night(campaign, width) {
  if (!campaign.hours) return null;
  return part("The night", nightChart(campaign.hours, width), nightLegend(), events(campaign.summary));
}

function times(campaign, width) {
  if (!campaign.spread) return null;
  const {slowest} = campaign.summary;
  return part("How long jobs took", timesChart(campaign.spread, width), campaign.spread.longer > 0 && html("p", {class: "soft small"}, `Not drawn: ${plural(campaign.spread.longer, "job", "jobs")} that took longer.`),
    html("h3", null, "The slowest"), html("div", {class: "wide"}, html("table", null,
      html("thead", null, html("tr", null, ["key", "took", "where it went", "added", "waited", "claimed", "done", "attempt"].map((name) => html("th", null, name)))),
      html("tbody", null, slowest.map((one) => html("tr", null, html("td", {class: "mono", title: one.key}, shortKey(one.key)), html("td", null, html("b", null, span(one.took_s))), html("td", null, partsBar(one.parts)), html("td", null, clock(one.created_ts)),
        html("td", null, span(Math.max(0, one.grab_ts - one.created_ts))), html("td", null, clock(one.grab_ts)), html("td", null, clock(one.end_ts)), html("td", null, one.attempt)))))), slowest.some((one) => one.parts.drawing !== undefined) && html("div", {class: "legend"}, Object.entries(PARTS_TOLD).map(([name, text]) => html("span", null, html("i", {class: `swatch ${name}`}), ` ${text}`))));
}

const PARTS_TOLD = {assets: "waited for assets", drawing: "drawn", code: "in its render's own code", settling: "settled: files and rows"};

function partsBar(parts) {
  const some = Object.entries(parts).filter(([, seconds]) => seconds > 0);
  const text = some.map(([name, seconds]) => `${PARTS_TOLD[name]} ${span(seconds)}`).join(", ");
  return some.length > 0 && html("div", {class: "bar parts", role: "img", title: text, "aria-label": text}, some.map(([name, seconds]) => html("i", {class: name, style: `flex: ${seconds} 0 0`})));
}

function look(campaign, shown) {
  let at = looks.findIndex((one) => one.shown === shown);
  if (at < 0) at = looks.push({campaign, shown}) - 1;
  enlarge(at);
}

function scatter(campaign, width) {
  const {points, names} = campaign.gallery;
  if (names.length < 2 || points.length < 2) return null;
  const varied = names.filter((name) => new Set(points.map((point) => point.values[name])).size > 1);
  const first = {x: varied[0] ?? names[0], y: varied[1] ?? names[1]};
  const picked = {x: names.includes(axes.x) ? axes.x : first.x, y: names.includes(axes.y) ? axes.y : first.y};
  const place = html("div");
  const draw = () => place.replaceChildren(plot(points, picked.x, picked.y, width, (point) => look(campaign, point)));
  const choose = (axis) => html("label", null, `${axis === "x" ? "across" : "up"} `, html("select", {"aria-label": axis === "x" ? "across" : "up", onchange: (event) => { axes[axis] = picked[axis] = event.target.value; draw(); }}, names.map((name) => html("option", {selected: name === picked[axis]}, name))));
  draw();
  return part("Params and metrics", html("div", {class: "controls"}, choose("x"), choose("y")), place,
    html("div", {class: "legend"}, html("span", {class: "done"}, "● done"), html("span", {class: "failed"}, "✕ failed"), html("span", {class: "suspect"}, "▲ suspect"), html("span", null, `${number(points.length)} jobs, evenly chosen; a click opens the frame`)));
}

function failures(campaign) {
  const {rows} = campaign.gallery;
  if (!rows.length) return null;
  const texts = rows.map((row) => `${row.key} ${row.reason} ${row.session} ${Object.entries(row.values).map(([name, value]) => `${name}=${value}`).join(" ")}`.toLowerCase());
  const body = html("tbody"), count = html("span", {class: "soft small"});
  const draw = () => {
    const words = sought.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((_, at) => words.every((word) => texts[at].includes(word)));
    count.textContent = `${number(found.length)} of ${number(rows.length)}${campaign.summary.failed > rows.length ? ` (chosen of ${number(campaign.summary.failed)})` : ""}${found.length > FIRST_ROWS ? `, the first ${FIRST_ROWS} are shown` : ""}`;
    body.replaceChildren(...found.slice(0, FIRST_ROWS).map((row) => html("tr", null,
      html("td", null, html("button", {type: "button", title: row.key, onclick: () => look(campaign, row)}, shortKey(row.key))),
      html("td", {class: "reasoned"}, row.reason), html("td", {class: "reasoned"}, valuesOf(row, 8)), html("td", {class: "session"}, row.session), html("td", {class: "number"}, row.attempt))));
  };
  const input = html("input", {type: "search", placeholder: "filter: words of key, reason, session, or light=3", "aria-label": "filter the failures", value: sought, oninput: () => { sought = input.value; draw(); }});
  draw();
  const made = part("The failed jobs", html("div", {class: "controls"}, input, count), html("div", {class: "wide"}, html("table", {id: "failures"},
    html("thead", null, html("tr", null, ["key", "reason", "params", "session", "attempt"].map((name) => html("th", null, name)))), body)));
  made.classList.add("long");
  return made;
}

function provenance({summary, parts}) {
  const values = Object.entries(summary.drawn_with).filter(([, counts]) => Object.keys(counts).length);
  const line = (name, value) => value && html("tr", null, html("th", null, name), html("td", {class: "mono path"}, value));
  return part("What drew it", html("table", null, html("tbody", null,
    line("campaign file", summary.file), line("results", summary.results), line("contact sheet", summary.contact_sheet), line("log", summary.log),
    values.map(([name, counts]) => line(parts[name], Object.entries(counts).map(([value, count]) => html("div", null, value, html("span", {class: "soft"}, ` (${number(count)} jobs)`))))))),
    values.some(([, counts]) => Object.keys(counts).length > 1) && html("p", {class: "suspect"}, "⚠ The done jobs differ in one of these: their pictures may, too."),
    summary.changed_sources.map((change) => html("p", {class: "suspect"}, `⚠ ${change.name} changed at ${moment(change.ts)}, after ${number(change.before)} of ${number(change.before + change.after)} done jobs.`)));
}

function show(data) {
  const page = document.getElementById("page");
  const campaign = data.campaigns[chosen];
  const {summary, gallery} = campaign;
  const width = Math.max(300, Math.min(1146, page.clientWidth - (innerWidth <= 520 ? 42 : 66)));
  looks = [];
  const sheet = gallery.sheet.filter((shown) => shown.picture);
  const parts = [
    now(data), head(data, campaign),
    summary.next.length > 0 && part("What comes next", summary.next.map(command)),
    reasons(campaign),
    pairs(campaign, "Failures", gallery.failed, summary.failed, "The last picture before the failure, if there is one, beside a good job."),
    pairs(campaign, "Pictures that may be wrong", gallery.suspects, summary.suspect_count, "Done, but odd; each beside a good job."),
    sheet.length > 0 && part("All over the campaign", html("p", {class: "soft small"}, "An even sample of all done jobs, in their order. Click to enlarge, step with the arrow keys."), html("div", {class: "sheet"}, sheet.map((shown) => picture(campaign, shown)))),
    reasonsBySession(campaign), night(campaign, width), times(campaign, width), scatter(campaign, width), failures(campaign), provenance(campaign),
  ];
  page.replaceChildren(...parts.filter(Boolean));
}

const data = JSON.parse(document.getElementById("data").textContent);
if (data.live) follow(data);
show(data);
let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== drawnWidth) { drawnWidth = innerWidth; show(live.data ?? data); }
});
