"""Signals, sent with the app object as sender and the job as ``job=``.

Receivers run on the thread where the thing happened, in an app context of that app: that of the
view or task where there is one, as receivers of Flask's own signals do, else a new one. Of what
housekeeping finds out, such as timeouts, they hear on a thread beside it. One that raises is logged
and harms nothing; one that is ``async def`` is run to its end.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

job_submitted = _signals.signal("job-submitted")
"Sent when a job was accepted, by the submitting thread, before it starts here."

job_started = _signals.signal("job-started")
"Sent before each attempt."

job_progressed = _signals.signal("job-progressed")
"Sent when progress is written to the store, at most every 50 ms for each job."

job_retrying = _signals.signal("job-retrying")
"Sent when an attempt failed and another will follow; ``job.run_at`` says when."

job_succeeded = _signals.signal("job-succeeded")
"Sent once the job ended well."

job_failed = _signals.signal("job-failed")
"Sent once the job failed for good."

job_cancelled = _signals.signal("job-cancelled")
"Sent once the job was cancelled, before or while it ran."

job_lost = _signals.signal("job-lost")
"Sent when a job is found whose process died and which may not run again."

mail_sent = _signals.signal("mail-sent")
"Sent when the SMTP server took a mail, with the ``MailReceipt`` as ``receipt=`` besides ``job=``."
