// Pictures: small ones in the page, the one looked at large; arrow keys step through all that the page shows.
"use strict";

// What can be stepped through, in the page's order; made anew whenever the page is drawn.
let looks = [];
let looking = 0;

const below = (base, path) => base + path.split("/").map(encodeURIComponent).join("/");
// No browser can open a part of a shard, but a run serves it.
const isOpen = (campaign, shown) => Boolean(shown.picture && (campaign.small || !shown.part));
const place = ({picture, part}) => part ? `${picture}@${part[0]}+${part[1]}` : picture;
const original = (campaign, shown) => below(campaign.base, place(shown));
// In the page, or where a run serves it.
const small = (campaign, shown) => shown.thumbnail ?? (campaign.small && shown.picture ? below(campaign.small, place(shown)) : null);

function valuesOf(shown, most = 99) {
  const values = Object.entries(shown.values);
  return html("div", {class: "values"},
    values.slice(0, most).map(([name, value]) => html("span", null, html("i", null, `${name} `), told(value))),
    values.length > most && html("span", {class: "soft"}, `and ${values.length - most} more`));
}

function picture(campaign, shown, caption) {
  const at = looks.push({campaign, shown}) - 1;
  const source = small(campaign, shown);
  const inside = source
    ? html("img", {src: source, loading: campaign.small && "lazy", alt: `${shown.outcome}: ${shown.key}`})
    : html("span", {class: "none"}, shown.picture ? "open to see" : "no picture was kept");
  return html("figure", null,
    html("button", {class: `picture ${shown.outcome}`, type: "button", title: shown.key, onclick: () => enlarge(at)}, inside),
    html("figcaption", {title: shown.key}, caption ?? shortKey(shown.key)));
}

function dialog() {
  const found = document.getElementById("large");
  if (found) return found;
  const made = html("dialog", {id: "large", onclick: (event) => { if (event.target === made) made.close(); }});
  document.body.append(made);
  return made;
}

function enlarge(at) {
  looking = (at + looks.length) % looks.length;
  const {campaign, shown} = looks[looking];
  const image = isOpen(campaign, shown) || shown.thumbnail ? html("img", {alt: shown.key}) : null;
  if (image) {
    // The page may have gone to another machine than the pictures.
    image.addEventListener("error", () => {
      const source = small(campaign, shown);
      if (source && image.getAttribute("src") !== source) image.src = source;
      else image.replaceWith(html("p", {class: "soft"}, "The picture is not here: ", html("code", null, shown.picture ?? "")));
    });
    image.src = isOpen(campaign, shown) ? original(campaign, shown) : shown.thumbnail;
  }
  const box = dialog();
  box.replaceChildren();
  put(box,
    html("nav", null,
      html("button", {type: "button", title: "the one before (left arrow)", onclick: () => enlarge(looking - 1)}, "←"),
      html("button", {type: "button", title: "the next one (right arrow)", onclick: () => enlarge(looking + 1)}, "→"),
      html("span", {class: "small"}, `${looking + 1} of ${looks.length}`),
      html("button", {type: "button", onclick: () => box.close()}, "close")),
    image ?? html("p", {class: "soft"}, shown.picture ? "Its picture is in a shard." : "No picture of this job was kept."),
    html("p", null, html("b", {class: shown.outcome}, shown.outcome), " ", html("code", null, shown.key),
      html("span", {class: "soft"}, `  ${shown.session}, attempt ${shown.attempt}${shown.took_s === null ? "" : `, ${span(shown.took_s)}`}`)),
    shown.reason && html("p", null, shown.reason), valuesOf(shown),
    shown.picture && html("p", {class: "small soft"}, html("code", null, `${campaign.root}/${shown.picture}${shown.part ? ` (${shown.part[1]} bytes from byte ${shown.part[0]})` : ""}`)));
  if (!box.open) box.showModal();
}

document.addEventListener("keydown", (event) => {
  if (!document.getElementById("large")?.open) return;
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (step) { event.preventDefault(); enlarge(looking + step); }
});
