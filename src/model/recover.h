/*
 * What to do when a device fails: with too little memory, less at a time; lost, anew, once; then,
 * or when it refuses a kernel, the CPU, or an error where the device was named.
 */
#ifndef UQM_MODEL_RECOVER_H
#define UQM_MODEL_RECOVER_H

#include "src/model/machine.h"

enum { UQM_MOST_HALVINGS = 6 };

/* Zero before the first attempt. */
struct uqm_recovery {
    unsigned halvings; /* of the device's room, at the next attempt */
    bool renewed;
};

/* After an attempt that ended with `ret` and has given everything back. True: try again, perhaps on
 * another device (machine->device); *err is cleared. False: *err stays, it is final. */
bool uqm_recover(struct uqm_recovery *recovery, struct uqm_machine *machine, int ret,
                 struct uqm_err *err);

#endif
