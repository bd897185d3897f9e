// Small trees of fibers, as React keeps them in Vuer's client, and a page that is nothing but what is injected.
import { React } from "../../runner/sessions/page/react.js";

const TAG = { component: 0, boundary: 1, host: 5, suspense: 13, root: 3 };

/** A fiber and those below it. kind: of TAG; more: what differs from a plain one. */
export function fiber(kind, more = {}, ...children) {
  const one = {
    tag: TAG[kind], type: function Component() {}, flags: 0, subtreeFlags: 0,
    memoizedProps: null, memoizedState: null, child: null, sibling: null, return: null, alternate: null, ...more,
  };
  children.forEach((child, i) => { child.return = one; child.sibling = children[i + 1] || null; });
  one.child = children[0] || null;
  return one;
}
/** An element of Vuer's scene, as the client renders it. */
export const element = (props, ...children) => fiber("component", { memoizedProps: { _key: props.key, ...props } }, ...children);

/** A page with react-dom and react-three-fiber in it; commit(...) renders a scene. */
export function pageWithReact(onChange = () => {}) {
  const window = {}, react = new React(window, onChange), hook = window.__REACT_DEVTOOLS_GLOBAL_HOOK__;
  const dom = hook.inject({ rendererPackageName: "react-dom", version: "19.2.4" });
  const fiberId = hook.inject({ rendererPackageName: "@react-three/fiber", version: "9.5.0" });
  const objects = new Map();
  const store = { scene: { getObjectByName: (name) => objects.get(name) } };
  const root = { current: null, pendingLanes: 0, timeoutHandle: -1, containerInfo: { getState: () => store } };
  const commit = (...children) => {
    root.current = fiber("root", {}, ...children);
    hook.onCommitFiberRoot(fiberId, root);
  };
  return { react, hook, root, objects, commit, dom };
}
