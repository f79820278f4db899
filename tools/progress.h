/*
 * How far a command has come, on standard error: a live line on a terminal, else a plain line
 * every 10 s or so. Log lines go through here too, so that they do not run into the live line.
 * Thread-safety: safe.
 */
#ifndef UQM_TOOLS_PROGRESS_H
#define UQM_TOOLS_PROGRESS_H

#include <pthread.h>
#include <stdio.h>

#include "tools/cli.h"

struct progress {
    pthread_mutex_t lock;
    FILE *out;
    bool live;  /* one line, rewritten */
    bool shown; /* not silenced */
    bool drawn; /* the live line stands there now */
    char stage[160];
    double t_stage, t_said; /* seconds, of the stage's first report and of the last line */
    uint64_t done_first;    /* what was done when the stage began, e.g. before a resume */
};

void progress_init(struct progress *p, FILE *out, const struct cli_common *options);
void progress_finish(struct progress *p);
/* Take the live line away, for good or until the next report. */
void progress_clear(struct progress *p);
void progress_report(struct progress *p, const struct uqm_progress *report);
/* One line of text, newline added; control bytes, which a stranger's file may have put into it, as
 * \xNN. */
void progress_say(struct progress *p, const char *prefix, const char *line);

/*
 * The line itself, without colours or line ends: "merging  37%  1.2/3.3 GB  210 MB/s  0:10 left".
 * elapsed: seconds since the stage began with `first` done. Returns its length.
 */
size_t progress_format(char *buf, size_t size, const struct uqm_progress *report, uint64_t first,
                       double elapsed);

#endif
