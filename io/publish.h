/*
 * An output that appears whole or not at all, and outlives the run that makes it (spec formats.md
 * 7). Beside the target NAME lies, while it is made, a folder under a lock:
 *
 *     .NAME.part/out       what will be NAME: a folder, or a file
 *     .NAME.part/journal   what of it is on the disk (io/journal.h)
 *
 * States, and what the next run of the same job finds:
 *
 *     building    a journal and an unfinished out: it goes on from what the journal says
 *     naming      a record with out's inode has been synced, then out is renamed. If the target has
 *                 that inode, the output stands (uqm_publish_is_done()); else it is still building
 *     done        .NAME.part is removed
 *
 * Another job, a journal that cannot be read, or no job at all: the part folder is emptied and the
 * work begins anew.
 */
#ifndef UQM_IO_PUBLISH_H
#define UQM_IO_PUBLISH_H

#include "io/journal.h"
#include "src/base/env.h"

struct uqm_publish_params {
    const char *target;
    bool is_file;
    bool overwrite;     /* a finished target is replaced in one step */
    const char *marker; /* folders: one that is replaced must hold this file, or nothing */
    const char *noun;   /* ... and is called "not NOUN to replace" else: "a merge" */
    const struct uqm_job_id *job; /* NULL: nothing is ever resumed */
};

struct uqm_publish;

/*
 * Check that the target may be made (absent, or with overwrite one that may be replaced), take the
 * lock, and what an interrupted run of the same job left; else an empty part folder. A run that is
 * still at it is UQM_ERR_IO.
 */
int uqm_publish_begin(struct uqm_publish **out, struct uqm_env *env,
                      const struct uqm_publish_params *params, struct uqm_err *err);
/* The checks alone, for a dry run. */
int uqm_publish_check(const struct uqm_publish_params *params, struct uqm_err *err);

/* Where to build: a folder that exists, or the name of a file that does not, unless it was resumed.
 * Borrowed. */
const char *uqm_publish_path(const struct uqm_publish *publish);
/* NULL without a job. What it says holds for uqm_publish_path(); it was begun anew if nothing was
 * resumed. Files that it says nothing of are the caller's to remove. */
struct uqm_journal *uqm_publish_journal(const struct uqm_publish *publish);
/* What was resumed is of no use after all: empty the part folder, begin the journal anew. */
int uqm_publish_restart(struct uqm_publish *publish, struct uqm_err *err);
/* An earlier run has already named the output; uqm_publish_commit() makes sure of it. */
bool uqm_publish_is_done(const struct uqm_publish *publish);

/* Of several outputs that belong together: the target's name is free, or may be replaced, at this
 * moment; and nothing is left to do before it is given but that. commit() does both where it must.
 */
int uqm_publish_check_free(const struct uqm_publish *publish, struct uqm_err *err);
int uqm_publish_prepare(struct uqm_publish *publish, struct uqm_err *err);
/* The target is there, and no part folder of it. */
bool uqm_publish_stands(const struct uqm_publish_params *params);
/*
 * Sync the folder, give it its name, sync its parent. Files are synced by whoever wrote them. The
 * part folder goes with uqm_publish_end(): of several outputs that belong together none loses its
 * journal before all have their names.
 */
int uqm_publish_commit(struct uqm_publish *publish, struct uqm_err *err);
/* Without commit, let uqm_publish_end() leave the part folder for the next run if its journal has
 * records and can be trusted. Returns whether it will, and says so at info level. */
bool uqm_publish_keep(struct uqm_publish *publish);
/* The part folder is removed, unless it is kept. Takes NULL. */
void uqm_publish_end(struct uqm_publish **publish);

#endif
