/* "run" of a result: what program, what device, which models. */
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/merge/fingerprint.h"
#include "src/uq/call.h"

enum { MAX_PICTURE_BYTES = 256 << 20 }; /* as pictures are read to be asked about */

/* The answers are there: a model that has gone meanwhile is a warning and stands as null. */
static json_t *model_json(struct uqm_call *call, const char *name, const char *path)
{
    struct uqm_xxh3_hex fingerprint;
    struct uqm_err err = { 0 }, ignored = { 0 };
    struct uqm_open_params open = call->open;
    open.quiet = true; /* it has been open before, to be asked */
    if (uqm_model_fingerprint(&fingerprint, &call->env, path, &open, &err) < 0) {
        uqm_warn(&call->env, &ignored, "%s; its fingerprint is left out", err.msg);
        return json_pack("{s:s, s:o, s:n}", "model", name, "path", uqm_inspect_text(path),
                         "fingerprint");
    }
    return json_pack("{s:s, s:o, s:s}", "model", name, "path", uqm_inspect_text(path),
                     "fingerprint", fingerprint.text);
}

/* Of every picture in the order of the records, one that follows itself once; those of a table
 * count with the table's digest. One that cannot be read was skipped, too. */
static json_t *pictures_json(const struct uqm_dataset *set)
{
    const char *last = "";
    struct uqm_xxh3 *h = uqm_xxh3_create();
    bool any = false;
    for (size_t i = 0; h && i < set->n_records; i++) {
        const struct uqm_record *r = &set->records[i];
        for (size_t k = 0; k < uqm_record_n_images(r); k++) {
            const char *path = uqm_record_image(r, k);
            struct uqm_err ignored = { 0 };
            char *bytes = NULL;
            size_t len = 0;
            if (r->image_bytes > 0 || strcmp(path, last) == 0)
                continue;
            if (uqm_read_file(&bytes, &len, path, MAX_PICTURE_BYTES, &ignored) == UQM_OK)
                uqm_xxh3_update(h, bytes, len);
            free(bytes);
            last = path;
            any = true;
        }
    }
    const struct uqm_xxh3_hex hex = any ? uqm_xxh3_hex(h) : (struct uqm_xxh3_hex){ "" };
    uqm_xxh3_destroy(&h);
    return any ? json_string(hex.text) : json_null();
}

json_t *uqm_call_run(struct uqm_call *call, const char *base)
{
    const struct uqm_device *device = call->runner.machine.device;
    json_t *models = json_array();
    for (size_t i = 0; models && i < call->models->n; i++)
        json_array_append_new(models, model_json(call, call->names[i], call->models->v[i]));
    json_t *sets = json_array();
    for (size_t k = 0; sets && k < call->survey.n_sets; k++)
        json_array_append_new(sets, json_pack("{s:s, s:o}", "data", call->survey.sets[k].name,
                                              "pictures", pictures_json(&call->survey.sets[k])));
    json_t *run = json_pack("{s:s, s:{s:s, s:s, s:b}, s:o, s:o}", "program", "uqmerge " UQM_VERSION,
                            "device", "id", device->id, "name", device->name, "fast",
                            call->runner.machine.fast, "models", models, "datasets", sets);
    if (run && base)
        json_object_set_new(run, "base", model_json(call, "base", base));
    return run;
}
