/* Rewards in the browser: reports what the customer does to POST /v1/me/events. It shows nothing, and never throws.
 *
 *   Rewards.init({getToken: () => fetch("/rewards-token").then((answer) => answer.text())});
 *   Rewards.track("product_shared", {product_id: "p1"});
 *   <article data-rewards-dwell="product_viewed" data-rewards-seconds="31" data-rewards-prop-category="audio">
 *
 * An event gets its id when it happens and keeps it until it has arrived, so sending it again never pays twice.
 */
var Rewards = (() => {
  "use strict";

  const BATCH_EVENTS = 20;
  const BATCH_BYTES = 50000; // browsers send at most 64 KiB of a page that is being left
  const EVENT_CHARACTERS = 8000;
  const KEPT_EVENTS = 200;
  const WAIT_MS = 2000;
  const BACK_OFF_MS = 60000;
  const EXPIRES_SOON_MS = 10000;
  const KEPT_MS = 7 * 24 * 60 * 60 * 1000;
  const HOVER_SECONDS = 0.5;
  const SHARE_PERCENT = 50;
  const DECLARED = ["click", "dwell", "scroll", "hover"];
  const here = typeof document !== "undefined" && document.currentScript ? new URL(document.currentScript.src).origin : "";

  let settings = null; // {url, getToken, refreshing, sending}; null until init, then new with each
  let stopped = false;
  let token = null;
  let endsAt = 0; // by this browser's clock, however wrong
  let owner = null; // whose events are kept under `prefix`; null: nobody's yet
  let queue = []; // what has not arrived, the oldest first
  let aside = null; // {owner, queue}: what has not arrived of whoever was here before
  let timer = null;
  let failures = 0;
  let notBefore = 0; // by performance.now(), which nobody puts back
  let alone = false; // send the next event by itself: the batch before was refused as a whole
  let renewed = false; // the token is new since the last answer

  const safely = (work) => (...given) => {
    try {
      return work(...given);
    } catch {
      return undefined; // the page goes on, whatever became of us
    }
  };

  // ---- What is kept while it has not arrived: an entry for each event, so that tabs do not overwrite each other.

  const MINE = "rewards-sdk.";
  const prefix = () => `${MINE}${owner || ""}.`;

  const stored = (start) => Object.keys(localStorage).filter((key) => key.startsWith(start));

  const keep = safely((event) => {
    if (stored(prefix()).length < KEPT_EVENTS) localStorage.setItem(prefix() + event.id, JSON.stringify(event));
  });

  const forget = (events) => {
    queue = queue.filter((event) => !events.includes(event));
    safely(() => events.forEach((event) => localStorage.removeItem(prefix() + event.id)))();
  };

  const restore = safely(() => {
    const known = new Set(queue.map((event) => event.id));
    for (const key of stored(MINE)) {
      const event = safely(JSON.parse)(localStorage.getItem(key));
      if (!event || !(Date.parse(event.occurred_at) > Date.now() - KEPT_MS)) localStorage.removeItem(key);
      else if (key.startsWith(prefix()) && !known.has(event.id)) queue.push(event);
    }
    queue.sort((one, other) => (one.occurred_at < other.occurred_at ? -1 : 1));
  });

  // ---- The token. Its payload says whose it is and when it ends; only the server can check it.

  const payload = safely((text) => {
    const [program, member, issued, expires] = JSON.parse(
      atob(text.slice(3).replace(/-/g, "+").replace(/_/g, "/")).slice(32),
    );
    return {owner: digest(`${program} ${member}`), lastsMs: (expires - issued) * 1000};
  });

  // FNV-1a: keeps the customers of one browser apart without writing down who they are.
  const digest = (text) => {
    let hash = 0x811c9dc5;
    for (const character of text) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
    return (hash >>> 0).toString(36);
  };

  const use = (fresh) => {
    const read = payload(fresh);
    if (!read) return;
    token = fresh;
    endsAt = Date.now() + read.lastsMs;
    if (read.owner === owner) return;
    // What happened before anybody was known belongs to who is known now; what is another's stays with the other.
    const nobodys = owner === null ? queue : [];
    forget(nobodys);
    owner = read.owner;
    queue = aside && aside.owner === owner ? aside.queue.concat(nobodys) : nobodys;
    aside = null;
    nobodys.forEach(keep);
    restore();
  };

  // Who comes next may be another: what has not arrived waits, and what is nobody's goes.
  const part = () => {
    if (owner !== null) aside = {owner, queue};
    token = owner = null;
    queue = [];
    restore();
    forget(queue);
  };

  const refresh = () => {
    const mine = settings;
    const before = token;
    const ask = async () => {
      const fresh = await mine.getToken();
      if (mine !== settings) return false;
      use(fresh && fresh.token ? fresh.token : fresh);
      return token !== before;
    };
    if (!mine || !mine.getToken) return Promise.resolve(false);
    mine.refreshing = mine.refreshing || ask().catch(() => false).finally(() => (mine.refreshing = null));
    return mine.refreshing;
  };

  // ---- Sending.

  const batch = (events) => {
    const chosen = [];
    let bytes = 0;
    for (const event of events.slice(0, alone ? 1 : BATCH_EVENTS)) {
      bytes += new TextEncoder().encode(JSON.stringify(event)).length;
      if (chosen.length && bytes > BATCH_BYTES) break;
      chosen.push(event);
    }
    return chosen;
  };

  const body = (events, more) => JSON.stringify({events, sent_at: new Date().toISOString(), ...more});

  const address = () => `${settings.url}/v1/me/events`;

  const later = (ms) => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      flush();
    }, ms);
  };

  const wait = (seconds) => {
    failures += 1;
    renewed = false;
    const growing = Math.min(BACK_OFF_MS, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
    const ms = Math.max(growing, (seconds || 0) * 1000);
    notBefore = performance.now() + ms;
    later(ms);
  };

  // What may succeed later stays; everything else is settled, whether it paid or not.
  const settle = (events, results) => {
    const passing = (index) => {
      const status = results[index] && results[index].error ? results[index].error.status : 200;
      return status === 429 || status >= 500;
    };
    const settled = events.filter((_, index) => !passing(index));
    forget(settled);
    if (settled.length < events.length) wait();
    else failures = 0;
  };

  const refused = (answer, events) => {
    if (answer.status === 410) forget(queue); // the customer was erased
    else if ([400, 413, 422].includes(answer.status)) {
      if (events.length === 1) forget(events);
      alone = events.length > 1;
    } else wait(Number(answer.headers.get("Retry-After")));
  };

  const deliver = async (events) => {
    const mine = settings;
    const answer = await fetch(address(), {
      method: "POST",
      headers: {"Authorization": `Bearer ${token}`, "Content-Type": "application/json"},
      body: body(events),
      credentials: "omit",
      keepalive: document.visibilityState === "hidden",
    });
    const confirmed = answer.ok ? await answer.json() : null;
    if (mine !== settings) return;
    if (answer.ok) {
      alone = renewed = false;
      settle(events, confirmed.results);
    } else if (answer.status !== 401) refused(answer, events);
    else if (!renewed && (await refresh())) renewed = true;
    else if (mine === settings) wait();
  };

  const flush = async () => {
    const mine = settings;
    if (!mine || mine.sending) return;
    mine.sending = true;
    try {
      const needed = token === null || (queue.length && endsAt < Date.now() + EXPIRES_SOON_MS);
      if (needed && mine.getToken && performance.now() >= notBefore) {
        if (!(await refresh()) && mine === settings && token === null && queue.length) wait();
      }
      while (mine === settings && token && queue.length && performance.now() >= notBefore) await deliver(batch(queue));
    } catch {
      if (mine === settings) wait(); // offline, most likely
    } finally {
      mine.sending = false;
    }
    if (mine === settings && queue.length && (token || mine.getToken)) later(Math.max(notBefore - performance.now(), WAIT_MS));
  };

  // The page is being left: nobody will read an answer. What arrives now and is sent once more later is paid once.
  const leave = safely(() => {
    if (!settings || !token || !navigator.sendBeacon) return;
    for (let rest = queue.slice(), part; rest.length; rest = rest.slice(part.length)) {
      part = batch(rest);
      if (!navigator.sendBeacon(address(), new Blob([body(part, {token})], {type: "text/plain"}))) return;
    }
    notBefore = performance.now() + WAIT_MS;
  });

  const identifier = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  const track = safely((type, properties = {}, {id} = {}) => {
    if (stopped) return undefined;
    const event = {
      id: id || identifier(),
      type,
      properties,
      occurred_at: new Date().toISOString(),
      context: {channel: "web", page: location.pathname.slice(0, 200), language: navigator.language},
    };
    if (JSON.stringify(event).length > EVENT_CHARACTERS || queue.some((other) => other.id === event.id)) return undefined;
    queue.push(event);
    if (queue.length > KEPT_EVENTS) forget(queue.slice(0, 1));
    keep(event);
    if (queue.length >= BATCH_EVENTS) flush();
    else later(WAIT_MS);
    return event.id;
  });

  // ---- What is declared in markup.

  const told = (element, name) => element.getAttribute(`data-rewards-${name}`);

  const number = (element, name, otherwise) => {
    const value = parseFloat(told(element, name));
    return value >= 0 ? value : otherwise;
  };

  // `data-rewards-prop-product-id="p1"` is text; `data-rewards-properties='{"price": 5}'` may be anything.
  const properties = (element) => {
    const found = {...safely(JSON.parse)(told(element, "properties"))};
    for (const {name, value} of element.attributes) {
      if (name.startsWith("data-rewards-prop-")) found[name.slice(18).replace(/-/g, "_")] = value;
    }
    return found;
  };

  const report = safely((element, kind, more) => {
    const id = told(element, "id");
    track(told(element, kind), {...properties(element), ...more}, {id: id ? `${kind}-${id}`.slice(0, 100) : undefined});
  });

  const onClick = safely((event) => {
    let element = event.target instanceof Element ? event.target.closest("[data-rewards-click]") : null;
    for (; element; element = element.parentElement && element.parentElement.closest("[data-rewards-click]")) {
      report(element, "click");
    }
  });

  // Dwell: for how long enough of the element was to be seen, in a tab that was in front. Once for each element.
  const dwells = new WeakMap(); // element → {seenMs, since, timer}
  const seen = new Set(); // the elements that are to be seen now

  const count = safely((element) => {
    const dwell = dwells.get(element);
    const counts = seen.has(element) && document.visibilityState === "visible";
    if (counts && dwell.since === null) {
      dwell.since = performance.now();
      const left = number(element, "seconds", 30) * 1000 - dwell.seenMs;
      dwell.timer = setTimeout(dwelt, Math.max(left, 0), element);
    } else if (!counts && dwell.since !== null) {
      clearTimeout(dwell.timer);
      dwell.seenMs += performance.now() - dwell.since;
      dwell.since = null;
    }
  });

  const dwelt = safely((element) => {
    const dwell = dwells.get(element);
    const seconds = Math.round((dwell.seenMs + performance.now() - dwell.since) / 100) / 10;
    viewport.unobserve(element);
    seen.delete(element);
    report(element, "dwell", {dwell_seconds: seconds});
  });

  const viewport =
    typeof IntersectionObserver === "undefined"
      ? {observe() {}, unobserve() {}, disconnect() {}}
      : new IntersectionObserver(
          safely((entries) =>
            entries.forEach(({target, intersectionRatio, intersectionRect, rootBounds}) => {
              const share = number(target, "share", SHARE_PERCENT) / 100;
              const fills = rootBounds && intersectionRect.height >= rootBounds.height * share; // larger than the screen
              seen[intersectionRatio > 0 && (intersectionRatio >= share || fills) ? "add" : "delete"](target);
              count(target);
            }),
          ),
          {threshold: Array.from({length: 21}, (_, step) => step / 20)},
        );

  // Scroll: how far down the element the customer has come, or inside it, where it scrolls by itself. Once for each.
  const scrolls = new Set();
  let looking = false;

  const depth = (element) => {
    const {scrollHeight, clientHeight, scrollTop} = element;
    const itself = element !== document.documentElement && element !== document.body;
    if (itself && scrollHeight > clientHeight && /auto|scroll/.test(getComputedStyle(element).overflowY)) {
      return (100 * (scrollTop + clientHeight)) / scrollHeight;
    }
    const {top, height} = element.getBoundingClientRect();
    return height > 0 ? Math.min(100, (100 * (innerHeight - top)) / height) : 0;
  };

  const look = safely(() => {
    looking = false;
    if (document.visibilityState !== "visible") return;
    for (const element of scrolls) {
      const reached = depth(element) + 0.5; // browsers round where they stop
      if (!element.isConnected) {
        scrolls.delete(element);
        watched.scroll.delete(element); // it may come back
      } else if (reached >= number(element, "depth", 75)) {
        scrolls.delete(element);
        report(element, "scroll", {scroll_percent: Math.min(100, Math.floor(reached))});
      }
    }
  });

  const onScroll = () => {
    if (!looking && scrolls.size) {
      looking = true;
      requestAnimationFrame(look);
    }
  };

  // Hover: the pointer rests on the element for a moment. Once for each.
  const rest = (element) => {
    let resting = null;
    const enter = ({pointerType}) => {
      if (pointerType === "touch") return; // fingers do not hover
      resting = setTimeout(() => {
        element.removeEventListener("pointerenter", enter);
        if (settings) report(element, "hover");
      }, number(element, "hover-seconds", HOVER_SECONDS) * 1000);
    };
    element.addEventListener("pointerenter", enter);
    element.addEventListener("pointerleave", () => clearTimeout(resting));
  };

  const watched = {dwell: new WeakSet(), scroll: new WeakSet(), hover: new WeakSet()};

  const watch = (element, kind) => {
    if (told(element, kind) === null || watched[kind].has(element)) return;
    watched[kind].add(element);
    if (kind === "hover") rest(element);
    else if (kind === "scroll") scrolls.add(element);
    else {
      dwells.set(element, {seenMs: 0, since: null, timer: null});
      viewport.observe(element);
    }
  };

  const scan = safely((root) => {
    const chosen = DECLARED.map((kind) => `[data-rewards-${kind}]`).join();
    for (const element of [root, ...root.querySelectorAll(chosen)]) Object.keys(watched).forEach((kind) => watch(element, kind));
    onScroll();
  });

  const changes = new MutationObserver(
    safely((records) => {
      for (const {type, target, addedNodes} of records) {
        if (type === "attributes") scan(target);
        else addedNodes.forEach((node) => node.nodeType === Node.ELEMENT_NODE && scan(node));
      }
    }),
  );

  const onVisibility = safely(() => {
    seen.forEach(count);
    onScroll();
    flush();
  });

  const onOnline = () => {
    failures = notBefore = 0;
    flush();
  };

  const listen = (change) => {
    document[change]("click", onClick, true);
    document[change]("visibilitychange", onVisibility);
    document[change]("scroll", onScroll, {capture: true, passive: true});
    window[change]("resize", onScroll);
    window[change]("pagehide", leave);
    window[change]("online", onOnline);
  };

  // Start, or go on with another token: `{url, token}` or `{url, getToken}`, which may answer later.
  const init = safely(({url = here, token: given = null, getToken = null} = {}) => {
    const first = settings === null;
    settings = {url: url.replace(/\/+$/, ""), getToken, refreshing: null, sending: false};
    stopped = alone = renewed = false;
    notBefore = failures = 0;
    if (owner === null) restore();
    if (given) use(given);
    else if (getToken && owner !== null) part();
    if (first) {
      listen("addEventListener");
      scan(document.documentElement);
      changes.observe(document.documentElement, {
        childList: true,
        subtree: true,
        attributeFilter: DECLARED.map((kind) => `data-rewards-${kind}`),
      });
    }
    flush();
  });

  // Forget the token and hear nothing more, when the customer signs out. What has not arrived waits for the next sign-in.
  const stop = safely(() => {
    if (settings) listen("removeEventListener");
    changes.disconnect();
    clearTimeout(timer);
    stopped = true;
    settings = timer = null;
    part();
  });

  return {init, track, flush, stop};
})();
