/* What networks run on: threads, a device for the layers, a place for what does not fit in memory.
 * Made once a command. */
#ifndef UQM_MODEL_MACHINE_H
#define UQM_MODEL_MACHINE_H

#include "compute/device.h"

struct uqm_machine {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_device *device; /* where layers run */
    /* Where they go on when `device` fails for good; NULL: that is an error, or it is the CPU. */
    struct uqm_device *cpu;
    bool fast; /* make_fast() was called: what has been answered so far may be so */
    /* Networks plan a job, say so in the log, and leave it: nothing is read or delivered. */
    bool plan_only;
    const char *scratch_dir; /* of scratch files; NULL: $TMPDIR, else /tmp; borrowed */
};

/* device: as uqm_device_open() takes it. "auto" (or NULL) goes on on the CPU when a GPU fails. *out
 * is to be finished, whatever is returned. */
int uqm_machine_init(struct uqm_machine *out, struct uqm_env *env, const char *device,
                     const char *scratch_dir, struct uqm_err *err);
/* Before anything is asked: layers in the device's mode `fast` (compute/device.h). UQM_ERR_ARG: it
 * is the CPU, which has none. One that `device` gives up to later goes on without it. */
int uqm_machine_make_fast(struct uqm_machine *machine, struct uqm_err *err);
/* Takes a zeroed one. */
void uqm_machine_finish(struct uqm_machine *machine);

/* The device has failed for good, for this reason: with a warning to the CPU. False: there is none
 * to go to. */
bool uqm_machine_fall_back(struct uqm_machine *machine, const struct uqm_err *why);

#endif
