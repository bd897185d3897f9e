// What the server and this page say to each other. Written by scripts/write_page_protocol from
// runner/sessions/protocol.py, where it is explained: change it there.

export const FENCE = "__fence";
export const FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "raw": "raw"};
export const LARGEST_MESSAGE_BYTES = 268435456;
export const PARCEL = 193;
export const KNOWN_VERSIONS = {"react-dom": "19.2.4", "@react-three/fiber": "9.5.0", "three": "182"};

/** @typedef {{ type: "grab", reply: string, fence: number, wait_s: number, format: keyof typeof FORMATS, camera: { name: string, pose: Record<string, any>, [part: string]: any }, depth: boolean }} Grab */
/** @typedef {{ type: "ready", reply: string, fence: number, wait_s: number }} Ready */
/** @typedef {{ type: "render" }} Render */
/** @typedef {{ type: "begin", seed: number }} Begin */
/** @typedef {{ type: "bye" }} Bye */
/** @typedef {{ type: "hello", ok: boolean, reason: string, versions: Record<string, string>, browser: string, renderer: string }} Hello */
/** @typedef {{ type: "is_ready", reply: string }} IsReady */
/** @typedef {{ type: "refused", reply: string, reason: string, is_lost: boolean }} Refused */
/** @typedef {{ type: "waits", lacks: string[], waited_s: number }} Waits */
/** @typedef {{ type: "hidden", is_hidden: boolean, held_s: number }} Hidden */
/** @typedef {Grab | Ready | Render | Begin | Bye} ToPage */
/** @typedef {Hello | IsReady | Refused | Waits | Hidden} FromPage */
