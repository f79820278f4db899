#include "src/model/recover.h"

static bool fall_back(struct uqm_recovery *r, struct uqm_machine *m, struct uqm_err *err)
{
    if (!uqm_machine_fall_back(m, err))
        return false;
    *r = (struct uqm_recovery){ 0 };
    *err = (struct uqm_err){ 0 };
    return true;
}

static bool renew(struct uqm_recovery *r, struct uqm_machine *m, struct uqm_err *err)
{
    struct uqm_device *device = m->device;
    if (r->renewed)
        return fall_back(r, m, err);
    struct uqm_err again = { 0 };
    uqm_log(m->env, UQM_LOG_WARN, "%.400s; once more", err->msg);
    r->renewed = true;
    if (device->ops->renew(device, &again) < 0) {
        *err = again;
        return fall_back(r, m, err);
    }
    *err = again;
    return true;
}

bool uqm_recover(struct uqm_recovery *recovery, struct uqm_machine *machine, int ret,
                 struct uqm_err *err)
{
    struct uqm_err none = { 0 };
    err = err ? err : &none;
    if (!uqm_device_may_fail(machine->device))
        return false;
    if (ret == UQM_ERR_DEVICE)
        return renew(recovery, machine, err);
    if (ret == UQM_ERR_UNSUPPORTED && machine->device->refuses)
        return fall_back(recovery, machine, err);
    if (ret != UQM_ERR_NOMEM)
        return false;
    if (recovery->halvings == UQM_MOST_HALVINGS)
        return fall_back(recovery, machine, err);
    uqm_log(machine->env, UQM_LOG_DEBUG, "%.400s; with half as much at a time", err->msg);
    recovery->halvings++;
    *err = none;
    return true;
}
