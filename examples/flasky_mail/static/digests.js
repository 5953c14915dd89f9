// Keeps the list of digests fresh, and speaks of times in the visitor's own zone.
const { timeZone } = Intl.DateTimeFormat().resolvedOptions();

function localize(part) {
  for (const time of part.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString();
  }
}

// What has not changed its state stays where it is, so that no button vanishes under a click.
function renew(list, fresh) {
  const was = [...list.querySelectorAll(".digest")];
  const is = [...fresh.querySelectorAll(".digest")];
  const same = was.length === is.length && is.every((digest, i) =>
    digest.id === was[i].id && digest.dataset.state === was[i].dataset.state);
  if (!same) {
    localize(fresh);
    list.replaceWith(fresh);
    return;
  }
  is.forEach((digest, i) => {
    was[i].querySelector("progress").value = digest.querySelector("progress").value;
  });
}

async function look() {
  try {
    const answer = await fetch(location.pathname);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("digests");
    if (answer.ok && fresh) renew(document.getElementById("digests"), fresh);
  } finally {
    setTimeout(look, 500); // also after a failure: the server may be starting again
  }
}

if (document.getElementById("digests")) {
  document.querySelector("[name=zone]").value = timeZone;
  document.querySelector(".zone").textContent = timeZone;
  localize(document);
  look();
}
