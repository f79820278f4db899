#include "src/model/memory_plan.h"

#include <stdio.h>

#include "src/base/checked.h"

struct item {
    const char *what;
    uint64_t bytes;
};

enum { LEAST_BYTES = 1 << 16 };

/* "a 1.0 MiB, b 2.0 MiB", without what is next to nothing. */
static void list(char *out, size_t room, const struct item *items, size_t n)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && used < room; i++)
        if (items[i].bytes >= LEAST_BYTES)
            used += (size_t) snprintf(out + used, room - used, "%s%s %.1f MiB", used ? ", " : "",
                                      items[i].what, (double) items[i].bytes / 0x1p20);
}

void uqm_memory_plan_log(const struct uqm_memory_plan *plan, const struct uqm_run *run)
{
    const struct uqm_device *device = run->device;
    const struct uqm_env *env = run->net->env;
    const struct uqm_device_bytes reserved = device->ops->reserve_bytes(device, &run->device_needs);
    const struct item host[] = {
        { "weights being read", uqm_max_u64(plan->ahead_bytes, run->stream_bytes) },
        { "held layers", plan->ring_bytes },
        { "all weights", plan->resident_bytes },
        { "rows on their way", run->stage_elem * sizeof(float) },
        { device->limits.on_host ? "weight slots and scratch" : "staging", reserved.host },
        { "hidden states", plan->states.host_bytes },
    };
    const struct item own[] = {
        { "weight slots and scratch", reserved.own },    { "activations", plan->arena_bytes },
        { "hidden states", plan->states.device_bytes },  { "keys and values", plan->cache_bytes },
        { "norms and rotary tables", run->table_bytes },
    };
    char text[400];
    list(text, sizeof text, host, sizeof host / sizeof *host);
    uqm_log(env, UQM_LOG_DEBUG, "memory of the host: %s; --memory is %.1f MiB", text,
            (double) env->budget.limit_bytes / 0x1p20);
    list(text, sizeof text, own, sizeof own / sizeof *own);
    uqm_log(env, UQM_LOG_DEBUG, "memory of %s%s: %s", device->id,
            device->limits.on_host ? ", which is the host's" : "", text);
    if (plan->file_bytes > 0)
        uqm_log(env, UQM_LOG_DEBUG, "scratch file: hidden states %.1f MiB",
                (double) plan->file_bytes / 0x1p20);
}

void uqm_asking_log_memory(const struct uqm_asking *asking)
{
    const struct uqm_plan *p = &asking->plan;
    struct uqm_memory_plan plan = { .ring_bytes = p->ring_bytes };
    struct uqm_pass_shape shape;
    if (p->kind == UQM_PLAN_TILES) {
        plan.arena_bytes = uqm_tiles_arena_bytes(asking, asking->n_done);
        plan.ahead_bytes =
            uqm_run_ahead_bytes(&asking->run, plan.arena_bytes, asking->plan_job.weights_bytes);
    } else if (uqm_plan_pass(&shape, p, &asking->plan_job, asking->n_done)) {
        const size_t width = asking->net->config.text.hidden;
        plan.arena_bytes = (shape.work + shape.tail) * sizeof(float);
        plan.states = uqm_states_memory(p->states, shape.n_rows, shape.most_rows, width);
        if (p->states == UQM_STATES_FILE)
            plan.file_bytes = (uint64_t) shape.n_rows * width * sizeof(float);
    }
    uqm_memory_plan_log(&plan, &asking->run);
}
