#include "src/merge/dry_run.h"

#include <stdlib.h>

#include "src/base/checked.h"
#include "src/merge/plan_json.h"
#include "src/merge/read_steps.h"
#include "src/merge/writer.h"

/* What happens to a part: how many tensors and bytes are written, and how they come about. */
struct tally {
    uint64_t n_tensors, n_bytes, by_fate[UQM_N_FATES], n_partial, n_outside, n_same;
};

static void count(struct tally *t, const struct uqm_recipe_source *rs, int part)
{
    *t = (struct tally){ 0 };
    for (size_t i = 0; i < rs->source.n_tensors; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[i];
        if (part >= 0 && rs->source.tensors[i].part != (enum uqm_part) part)
            continue;
        if (pt->outside) {
            t->n_outside++;
            continue;
        }
        t->n_tensors++;
        t->n_bytes += rs->source.tensors[i].n_bytes;
        t->by_fate[pt->fate]++;
        t->n_partial += pt->partial;
        t->n_same += pt->same_as >= 0;
    }
}

static const char *in_words(const struct uqm_recipe_source *rs, enum uqm_part part,
                            const struct tally *t)
{
    if (part == UQM_PART_VISION)
        return rs->vision ? rs->vision : "absent";
    if (t->n_tensors == 0)
        return "absent";
    if (t->by_fate[UQM_FATE_MERGED] == t->n_tensors)
        return "merged";
    return t->by_fate[UQM_FATE_MERGED] ? "merged; buffers are copied, and must be equal"
                                       : "copied, and must be equal";
}

static json_t *describe_parts(const struct uqm_recipe_source *rs)
{
    json_t *parts = json_object();
    for (int p = 0; p < UQM_N_PARTS && parts; p++) {
        struct tally t;
        count(&t, rs, p);
        json_t *one =
            json_pack("{s:s, s:I, s:I}", "what", in_words(rs, (enum uqm_part) p, &t), "tensors",
                      (json_int_t) t.n_tensors, "bytes", (json_int_t) t.n_bytes);
        json_object_set_new(parts, uqm_part_name((enum uqm_part) p), one);
    }
    return parts;
}

static json_t *describe_fates(const struct uqm_recipe_source *rs)
{
    struct tally t;
    count(&t, rs, -1);
    json_t *fates = json_object();
    for (int f = 0; f < UQM_N_FATES && fates; f++)
        json_object_set_new(fates, uqm_fate_name((enum uqm_fate) f),
                            json_integer((json_int_t) t.by_fate[f]));
    if (fates) {
        json_object_set_new(fates, "not in all inputs", json_integer((json_int_t) t.n_partial));
        json_object_set_new(fates, "beside the model", json_integer((json_int_t) t.n_outside));
        json_object_set_new(fates, "same as another", json_integer((json_int_t) t.n_same));
        json_object_set_new(fates, "dropped", json_integer((json_int_t) rs->n_dropped));
        json_object_set_new(fates, "in no module", json_integer((json_int_t) rs->n_unnamed));
        json_object_set_new(fates, "left out", json_integer((json_int_t) rs->n_left_out));
    }
    return fates;
}

static json_t *describe_inputs(const struct uqm_recipe_source *rs)
{
    json_t *list = json_array();
    for (size_t k = 0; k < rs->n_inputs && list; k++) {
        const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
        uint64_t bytes = 0;
        for (size_t f = 0; f < cp->n_own_files; f++)
            bytes += cp->files[f]->size_bytes;
        json_t *one = json_pack("{s:s, s:s, s:s?, s:I, s:I, s:b, s:o}", "path", cp->path, "layout",
                                uqm_layout_name(cp->layout), "architecture", cp->architecture,
                                "tensors", (json_int_t) cp->source.n_tensors, "bytes",
                                (json_int_t) bytes, "base", rs->recipe->base >= 0 && k == rs->home,
                                "unused", uqm_plan_unused_json(rs, k));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *describe_shards(const struct uqm_write_plan *plan)
{
    json_t *list = json_array();
    for (size_t s = 0; s < plan->n_shards && list; s++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", plan->shards[s].name,
                                              "tensors", (json_int_t) plan->shards[s].n_tensors,
                                              "bytes", (json_int_t) plan->shards[s].n_bytes));
    return list;
}

static uint64_t bytes_to_write(const struct uqm_writer *w)
{
    uint64_t n = uqm_writer_copied_bytes(w);
    for (size_t s = 0; s < w->plan.n_shards; s++)
        n += w->plan.shards[s].n_bytes;
    return n;
}

static json_t *disk_free(uint64_t available)
{
    return available == UQM_DISK_UNKNOWN ? json_null() : json_integer((json_int_t) available);
}

/* Of one output: what it takes of the run's memory, and reads, shared or not. */
static json_t *describe(const struct uqm_writer *w, uint64_t needed, uint64_t available)
{
    const struct uqm_recipe_source *rs = w->rs;
    uint64_t memory = w->plan.stream_bytes + w->plan.sink_bytes + w->plan.report_bytes;
    uint64_t beside = uqm_input_hash_left(w->hash) + rs->digested_bytes;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
        "out", w->params->out_dir, "method", rs->recipe->method->name, "numerics",
        rs->numerics == UQM_NUMERICS_MERGEKIT ? "mergekit" : "accurate", "parameters",
        uqm_plan_parameters_json(rs), "tensors", (json_int_t) w->plan.n_order, "bytes_read",
        (json_int_t) (w->plan.read_bytes + beside), "bytes_read_most",
        (json_int_t) (w->plan.most_read_bytes + beside), "bytes_write",
        (json_int_t) bytes_to_write(w), "passes", (json_int_t) w->plan.n_passes, "peak_memory",
        (json_int_t) memory, "disk_needed", (json_int_t) needed, "disk_free", disk_free(available),
        "parts", describe_parts(rs), "tensors_by_fate", describe_fates(rs), "inputs",
        describe_inputs(rs), "shards", describe_shards(&w->plan), "output",
        uqm_plan_tensors_json(rs));
}

static int plan_one(json_t **out, struct uqm_writer *w, struct uqm_err *err)
{
    uint64_t needed = 0, available = 0;
    const struct uqm_publish_params publish = uqm_writer_publish_params(w->params, NULL);
    int ret = uqm_writer_check_target(w->rs, w->params->out_dir, err);
    if (ret == UQM_OK)
        ret = uqm_publish_check(&publish, err);
    if (ret == UQM_OK)
        ret = uqm_writers_disk(&needed, &available, w, 1, err);
    if (ret == UQM_OK)
        ret = uqm_input_hash_create(&w->hash, w->rs, &w->plan, NULL, err);
    if (ret == UQM_OK && !(*out = describe(w, needed, available)))
        ret = uqm_writer_no_memory(w, err);
    return ret;
}

/* Of all outputs together: what several read is read once, and they share their buffers. */
static int describe_all(json_t **out, struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    struct uqm_read_bytes read;
    uint64_t beside = 0, written = 0, memory = w[0].plan.share_bytes, needed = 0, available = 0;
    int ret = uqm_writers_read_bytes(&read, w, n, err);
    if (ret == UQM_OK)
        ret = uqm_writers_disk(&needed, &available, w, n, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        for (size_t j = 0; j < i; j++)
            uqm_input_hash_borrow(w[i].hash, w[j].hash);
        beside += uqm_input_hash_left(w[i].hash) + w[i].rs->digested_bytes;
        written += bytes_to_write(&w[i]);
        memory += w[i].plan.sink_bytes + w[i].plan.report_bytes;
        memory += n == 1 ? w[i].plan.stream_bytes
                         : uqm_merge_stream_own_memory(w[i].rs, w[i].plan.tile_bytes);
    }
    if (ret == UQM_OK)
        *out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "bytes_read",
                         (json_int_t) (read.likely + beside), "bytes_read_most",
                         (json_int_t) (read.most + beside), "bytes_write", (json_int_t) written,
                         "peak_memory", (json_int_t) memory, "disk_needed", (json_int_t) needed,
                         "disk_free", disk_free(available));
    return ret == UQM_OK && !*out ? uqm_writer_no_memory(&w[0], err) : ret;
}

static int plan_all(json_t **result, struct uqm_writer *w, size_t n, bool as_list,
                    struct uqm_err *err)
{
    json_t *list = json_array(), *one;
    int ret = list ? UQM_OK : uqm_writer_no_memory(&w[0], err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = uqm_write_plan_layout(&w[i].plan, w[i].rs, w[i].params, err);
    if (ret == UQM_OK)
        ret = uqm_writers_divide_memory(w, n, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        ret = plan_one(&one, &w[i], err);
        if (ret == UQM_OK && json_array_append_new(list, one) != 0)
            ret = uqm_writer_no_memory(&w[i], err);
    }
    if (ret == UQM_OK && !as_list)
        *result = json_incref(json_array_get(list, 0));
    else if (ret == UQM_OK)
        ret = describe_all(result, w, n, err);
    if (ret == UQM_OK && as_list && json_object_set(*result, "outputs", list) != 0) {
        json_decref(*result);
        *result = NULL;
        ret = uqm_writer_no_memory(&w[0], err);
    }
    json_decref(list);
    return ret;
}

int uqm_merge_dry_run(json_t **result, struct uqm_env *env, const struct uqm_write_job *jobs,
                      size_t n, bool as_list, struct uqm_err *err)
{
    struct uqm_writer *w = calloc(n, sizeof *w);
    if (!w)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to plan %zu merges", n);
    for (size_t i = 0; i < n; i++) {
        w[i] = (struct uqm_writer){
            .env = env,
            .rs = uqm_recipe_source_of(jobs[i].source),
            .recipe = jobs[i].recipe,
            .params = &jobs[i].params,
        };
        w[i].rs->states_once = w[i].rs->ranges_in_order = true; /* as the writer does */
    }
    int ret = plan_all(result, w, n, as_list, err);
    for (size_t i = n; i-- > 0;) { /* a later one looks at the hashes of an earlier one */
        uqm_input_hash_destroy(&w[i].hash);
        uqm_write_plan_finish(&w[i].plan);
        uqm_arena_finish(&w[i].arena);
    }
    free(w);
    return ret;
}
