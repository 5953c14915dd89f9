// Moves the bar of a report: asks the job's own address how far it is.
const box = document.getElementById("watch");

async function look() {
  const answer = await fetch(box.dataset.status, { headers: { Accept: "application/json" } });
  const job = await answer.json();
  if (!["scheduled", "queued", "running"].includes(job.state)) {
    location.reload();
    return;
  }
  document.getElementById("state").textContent = job.state;
  if (job.progress && job.progress.total) {
    const { done, total } = job.progress;
    box.querySelector("progress").value = (100 * done) / total;
    document.getElementById("steps").textContent = `${done} of ${total} days`;
  }
  setTimeout(look, 500);
}

look();
