// Keeps the page fresh: loads it again in the background when an event stream, or else a timer,
// says so, and puts the new parts in the place of the old ones. The page works without it.
"use strict";

const pollEvery = 3000;
let stream = null;
let timer = null;
let loading = false;
let soon = false;

const live = () => document.getElementById("live");

// Nothing is replaced under the hands of somebody who marks jobs, reads what was unfolded or is on
// a control.
const inUse = () =>
  live().querySelector("input:checked, details[open]") !== null ||
  live().contains(document.activeElement);

function take(fresh) {
  live().replaceWith(document.adoptNode(fresh.getElementById("live")));
  const said = document.getElementById("said");
  const now = fresh.getElementById("said");
  if (said && now && said.textContent !== now.textContent) {
    said.replaceChildren(...now.childNodes);
    document.title = fresh.title;
  }
}

async function refresh() {
  soon = false;
  if (loading || document.hidden || inUse()) return plan();
  loading = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const text = await answer.text();
    // Asked again: somebody may have marked a job in the meantime.
    if (answer.ok && answer.url === location.href.split("#")[0] && !inUse()) {
      take(new DOMParser().parseFromString(text, "text/html"));
    }
  } catch {
    // The server is away for the moment; the next turn tries again.
  } finally {
    loading = false;
  }
  listen();
}

function plan(after = pollEvery) {
  clearTimeout(timer);
  if ("poll" in live().dataset) timer = setTimeout(refresh, after);
}

function close() {
  if (stream) stream.close();
  stream = null;
}

// Where there is no stream to be had now (503), the timer goes on and asks again with each turn.
function listen() {
  const url = live().dataset.events;
  if (!url || document.hidden) close();
  if (url && !document.hidden && !stream) {
    stream = new EventSource(url);
    stream.onmessage = () => {
      if (!soon) plan(200); // the first of many decides: a job that moves all the time is shown
      soon = true;
    };
    stream.onerror = () => {
      if (!stream || stream.readyState !== EventSource.CLOSED) return; // it comes back by itself
      stream = null;
      plan();
    };
  }
  if (!stream) plan();
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : plan(0)));
if (live()) listen();
