#include <fcntl.h>

#include "src/archive/archive.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/model_file.h"
#include "tests/unit/archive/archive_test.h"

static const struct pack_options plain = { .n_threads = 2 };

static void pack(const char *dir, const char *archive, const struct pack_options *o)
{
    struct uqm_err err = { 0 };
    assert_ok(try_pack(NULL, dir, archive, o, &err), err);
}

static void unpack(const char *archive, const char *dir, const struct pack_options *o)
{
    struct uqm_err err = { 0 };
    assert_ok(try_unpack(archive, dir, o, &err), err);
}

/* verify's exit, and its first difference in err. */
static int verify(const char *archive, json_t **out, struct uqm_err *err)
{
    char *text = NULL;
    const struct uqm_verify_params params = { .common = { .n_threads = 2 }, .path = archive };
    int ret = uqm_verify(&text, &params, err);
    json_t *v = parse_result(text);
    if (out)
        *out = v;
    else
        json_decref(v);
    return ret;
}

static void the_zoo_comes_back_to_the_byte(void **state)
{
    (void) state;
    static const char *const models[] = { "base", "chat" };
    for (size_t i = 0; i < 2; i++) {
        struct uqm_model_files files;
        struct uqm_err err = { 0 };
        const char *dir = zoo_path(i ? "models/chat" : "models/base");
        pack(dir, in_dir("%s.uqz", models[i]), &plain);
        unpack(in_dir("%s.uqz", models[i]), in_dir("%s", models[i]), &plain);
        assert_ok(uqm_model_files_list(&files, dir, &err), err);
        assert_true(files.n > 5);
        for (size_t k = 0; k < files.n; k++) {
            char *from = uqm_path_join(dir, files.names[k]);
            assert_same_file(from, in_dir("%s/%s", models[i], files.names[k]));
            free(from);
        }
        struct uqm_model_files back;
        assert_ok(uqm_model_files_list(&back, in_dir("%s.uqz", models[i]), &err), err);
        assert_int_equal(back.n, files.n);
        uqm_model_files_free(&back);
        uqm_model_files_free(&files);
        assert_int_equal(verify(in_dir("%s.uqz", models[i]), NULL, &err), UQM_OK);
    }
}

/* The weights' blocks, and what they cost in the index, against the entropy of their exponents. */
static void the_zoo_s_weights_pack_to_within_a_hundredth_of_their_entropy(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_archive *a = NULL;
    const struct uqm_archive_params params = { .path = in_dir("base.uqz") };
    assert_ok(uqm_archive_open(&a, test_env(64 << 20, 1), &params, &err), err);
    const struct uqm_archive_index *ix = uqm_archive_index(a);
    size_t len;
    uint8_t *file = get_file(zoo_path("models/base/model.safetensors"), &len);
    long at = uqm_archive_index_find(ix, "model.safetensors");
    assert_true(at >= 0);
    const struct uqm_archive_file *f = &ix->files[at];
    double bound = 0, stored = 0;
    for (size_t i = f->first_segment; i < f->first_segment + f->n_segments; i++) {
        const struct uqm_archive_segment *s = &ix->segments[i];
        if (s->words != UQM_ARCHIVE_WORDS16)
            continue;
        bound += entropy_bound(file + s->begin, s->n_bytes / 2, 2);
        for (uint64_t k = 0; k < s->n_blocks; k++)
            stored += ix->blocks[s->first_block + k].stored_bytes + UQM_ARCHIVE_BLOCK_ENTRY + 8;
    }
    print_message("# the zoo's base: %.4f of its bound, %.4f of its size\n", stored / bound,
                  stored / (double) len);
    assert_true(bound > 1e6 && stored < 1.01 * bound);
    free(file);
    uqm_archive_close(&a);
}

static void the_archive_depends_on_the_folder_alone(void **state)
{
    (void) state;
    static const struct pack_options ways[] = {
        { .n_threads = 1, .memory = 64 << 20 },
        { .n_threads = 7, .io = UQM_IO_PREAD },
        { .n_threads = 3, .memory = UINT64_C(512) << 20, .io = UQM_IO_AUTO },
    };
    for (size_t i = 0; i < 3; i++) {
        pack(zoo_path("models/base"), in_dir("way%zu.uqz", i), &ways[i]);
        assert_same_file(in_dir("way%zu.uqz", i), in_dir("base.uqz"));
        unpack(in_dir("way%zu.uqz", i), in_dir("way%zu", i), &ways[i]);
        assert_same_file(in_dir("way%zu/model.safetensors", i),
                         zoo_path("models/base/model.safetensors"));
    }
}

/* --- odd folders --- */

static void put_odd_folder(void)
{
    static const char header[] =
        "{\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[6,6]},"
        "\"i\":{\"dtype\":\"I8\",\"shape\":[5],\"data_offsets\":[6,11]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[100001],\"data_offsets\":[11,400015]}}";
    mkdir(in_dir("odd"), 0755);
    mkdir(in_dir("odd/sub"), 0755);
    mkdir(in_dir("odd/sub/deep"), 0755);
    mkdir(in_dir("odd/nothing"), 0755);
    put_file(in_dir("odd/empty"), "", 0);
    put_file(in_dir("odd/sub/one"), "x", 1);
    put_file(in_dir("odd/sub/deep/name with \xff and \n"), "odd\n", 4);
    put_file(in_dir("odd/a-b"), "sorts between a and a/", 22);
    put_file(in_dir("odd/training_args.bin"), "no checkpoint", 13);
    put_file(in_dir("odd/run.sh"), "#!/bin/sh\n", 10);
    chmod(in_dir("odd/run.sh"), 0755);
    size_t n = strlen(header), n_data = 400015;
    uint8_t *file = calloc(1, 8 + n + n_data), *w = make_weights(UQM_F32, 100001, 3, 1);
    assert_true(file && w);
    file[0] = (uint8_t) n, file[1] = (uint8_t) (n >> 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n + 11, w, 400004);
    put_file(in_dir("odd/sub/m.safetensors"), file, 8 + n + n_data);
    free(file);
    free(w);
}

static void odd_folders_come_back_too(void **state)
{
    (void) state;
    static const char *const files[] = {
        "empty",  "sub/one",          "sub/deep/name with \xff and \n", "a-b", "training_args.bin",
        "run.sh", "sub/m.safetensors"
    };
    struct stat st;
    struct uqm_err err = { 0 };
    put_odd_folder();
    pack(in_dir("odd"), in_dir("odd.uqz"), &plain);
    unpack(in_dir("odd.uqz"), in_dir("odd-back"), &plain);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_same_file(in_dir("odd/%s", files[i]), in_dir("odd-back/%s", files[i]));
    assert_int_equal(stat(in_dir("odd-back/run.sh"), &st), 0);
    assert_true(st.st_mode & S_IXUSR);
    assert_int_equal(stat(in_dir("odd-back/a-b"), &st), 0);
    assert_false(st.st_mode & S_IXUSR);
    assert_int_equal(verify(in_dir("odd.uqz"), NULL, &err), UQM_OK);
    assert_fails(try_unpack(in_dir("odd.uqz"), in_dir("odd-back"), &plain, &err), err, UQM_ERR_ARG,
                 "exists already; give another name");
    assert_null(strstr(err.msg, "--overwrite")); /* which unpack does not have */
}

static void what_cannot_be_packed_is_refused_by_name(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    mkdir(in_dir("links"), 0755);
    put_file(in_dir("links/x"), "x", 1);
    assert_fails(try_pack(NULL, in_dir("links"), in_dir("links.zip"), &plain, &err), err,
                 UQM_ERR_USAGE, "ends in .uqz");
    assert_fails(try_pack(NULL, in_dir("links"), in_dir("links/x.uqz"), &plain, &err), err,
                 UQM_ERR_ARG, "lies in the folder that is packed");
    assert_fails(try_pack(NULL, in_dir("links/x"), in_dir("l.uqz"), &plain, &err), err, UQM_ERR_ARG,
                 "not a folder");
    assert_int_equal(symlink("x", in_dir("links/inside")), 0);
    pack(in_dir("links"), in_dir("l.uqz"), &plain);
    assert_fails(try_pack(NULL, in_dir("links"), in_dir("l.uqz"), &plain, &err), err, UQM_ERR_ARG,
                 "exists already");
    pack(in_dir("links"), in_dir("l.uqz"),
         &(struct pack_options){ .n_threads = 1, .overwrite = true });
    assert_int_equal(symlink("/etc/hostname", in_dir("links/out")), 0);
    assert_true(try_pack(NULL, in_dir("links"), in_dir("l2.uqz"), &plain, &err) < 0);
    unlink(in_dir("links/out"));
    assert_int_equal(mkfifo(in_dir("links/fifo"), 0600), 0);
    assert_fails(try_pack(NULL, in_dir("links"), in_dir("l2.uqz"), &plain, &err), err,
                 UQM_ERR_UNSUPPORTED, "neither a file nor a folder");
    unlink(in_dir("links/fifo"));
    assert_int_equal(access(in_dir("l2.uqz"), F_OK), -1);
    mkdir(in_dir("bare"), 0755);
    assert_fails(try_pack(NULL, in_dir("bare"), in_dir("l2.uqz"), &plain, &err), err, UQM_ERR_ARG,
                 "holds no files");
}

/* --- damage --- */

static void put_small_model(const char *name, const void *weights, size_t n)
{
    char header[256];
    int len = snprintf(
        header, sizeof header,
        "{\"model.w\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", n, 2 * n);
    uint8_t *file = calloc(1, 8 + sizeof header + 2 * n);
    assert_non_null(file);
    file[0] = (uint8_t) len;
    memcpy(file + 8, header, (size_t) len);
    memcpy(file + 8 + len, weights, 2 * n);
    mkdir(in_dir("%s", name), 0755);
    put_file(in_dir("%s/model.safetensors", name), file, 8 + (size_t) len + 2 * n);
    static const char config[] = "{\"architectures\": [\"Tiny\"]}\n";
    put_file(in_dir("%s/config.json", name), config, strlen(config));
    free(file);
}

static void an_archive_cut_anywhere_is_refused(void **state)
{
    (void) state;
    uint8_t *w = make_weights(UQM_BF16, 300, 5, 0.02);
    put_small_model("tiny", w, 300);
    free(w);
    pack(in_dir("tiny"), in_dir("tiny.uqz"), &plain);
    size_t n;
    uint8_t *bytes = get_file(in_dir("tiny.uqz"), &n);
    for (size_t len = 0; len < n; len++) {
        struct uqm_err err = { 0 };
        struct uqm_archive *a = NULL;
        const struct uqm_archive_params params = { .path = in_dir("cut.uqz") };
        put_file(in_dir("cut.uqz"), bytes, len);
        assert_int_equal(uqm_archive_open(&a, test_env(64 << 20, 1), &params, &err),
                         UQM_ERR_FORMAT);
        assert_null(a);
        assert_non_null(strstr(err.msg, "cut.uqz: "));
    }
    free(bytes);
}

static void a_flipped_byte_anywhere_is_found_and_never_reaches_a_folder(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    size_t n, n_named = 0;
    uint8_t *bytes = get_file(in_dir("tiny.uqz"), &n);
    assert_int_equal(verify(in_dir("tiny.uqz"), NULL, &err), UQM_OK);
    for (size_t i = 0; i < n; i += 3) {
        json_t *result = NULL;
        bytes[i] ^= (uint8_t) (1 << i % 8);
        put_file(in_dir("flip.uqz"), bytes, n);
        int ret = verify(in_dir("flip.uqz"), &result, &err);
        if (ret != UQM_ERR_CHECK && ret != UQM_ERR_UNSUPPORTED)
            fail_msg("byte %zu: %d %s", i, ret, err.msg);
        const json_t *first = json_array_get(json_object_get(result, "differences"), 0);
        const char *tensor = json_string_value(json_object_get(first, "tensor"));
        n_named += tensor && strcmp(tensor, "model.w") == 0;
        json_decref(result);
        bytes[i] ^= (uint8_t) (1 << i % 8);
    }
    assert_true(n_named * 3 > 300); /* most of the archive is that tensor */
    bytes[200] ^= 4;
    put_file(in_dir("flip.uqz"), bytes, n);
    assert_fails(try_unpack(in_dir("flip.uqz"), in_dir("flipped"), &plain, &err), err,
                 UQM_ERR_FORMAT, "damaged");
    assert_int_equal(access(in_dir("flipped"), F_OK), -1);
    assert_fails(verify(in_dir("flip.uqz"), NULL, &err), err, UQM_ERR_CHECK,
                 "model.safetensors, tensor model.w, bytes [");
    free(bytes);
}

/* --- deltas --- */

static void make_pair(size_t n)
{
    uint16_t *base = malloc(2 * n), *tuned = malloc(2 * n);
    assert_true(base && tuned);
    for (size_t i = 0; i < n; i++) {
        double w = gauss_at(11, i, 0.02);
        base[i] = uqm_bf16_of_f32((float) w);
        tuned[i] = uqm_bf16_of_f32((float) (w + gauss_at(12, i, 0.0005)));
    }
    put_small_model("pair-base", base, n);
    put_small_model("pair-tuned", tuned, n);
    free(base);
    free(tuned);
}

static void a_delta_needs_its_base_and_finds_it(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct stat st;
    json_t *result = NULL;
    char base[1024];
    make_pair(400000);
    snprintf(base, sizeof base, "%s", in_dir("pair-base"));
    const struct pack_options delta = { .n_threads = 2, .base = base };
    assert_ok(try_pack(&result, in_dir("pair-tuned"), in_dir("tuned.uqz"), &delta, &err), err);
    assert_int_equal(json_integer_value(json_object_get(result, "delta_bytes")), 800000);
    json_decref(result);
    assert_int_equal(stat(in_dir("tuned.uqz"), &st), 0);
    assert_true(st.st_size * 2 < 800000);
    unpack(in_dir("tuned.uqz"), in_dir("tuned-1"), &plain);
    assert_same_file(in_dir("tuned-1/model.safetensors"), in_dir("pair-tuned/model.safetensors"));
    assert_int_equal(verify(in_dir("tuned.uqz"), NULL, &err), UQM_OK);

    /* gone from where it was: beside the archive, or where the user says */
    mkdir(in_dir("elsewhere"), 0755);
    assert_int_equal(rename(in_dir("pair-base"), in_dir("elsewhere/moved")), 0);
    assert_fails(try_unpack(in_dir("tuned.uqz"), in_dir("tuned-2"), &plain, &err), err, UQM_ERR_IO,
                 "put it there, or unpack with --base");
    snprintf(base, sizeof base, "%s", in_dir("elsewhere/moved"));
    unpack(in_dir("tuned.uqz"), in_dir("tuned-2"), &delta);
    assert_same_file(in_dir("tuned-2/model.safetensors"), in_dir("pair-tuned/model.safetensors"));

    /* an archive of it does as well, and a delta of a delta */
    pack(in_dir("elsewhere/moved"), in_dir("pair-base.uqz"), &plain);
    assert_fails(try_unpack(in_dir("pair-base.uqz"), in_dir("tuned-3"), &delta, &err), err,
                 UQM_ERR_ARG, "pair-base.uqz was packed without a base");
    snprintf(base, sizeof base, "%s", in_dir("pair-base.uqz"));
    unpack(in_dir("tuned.uqz"), in_dir("tuned-3"), &delta);
    assert_same_file(in_dir("tuned-3/model.safetensors"), in_dir("pair-tuned/model.safetensors"));
    pack(in_dir("pair-tuned"), in_dir("second.uqz"), &delta);
    snprintf(base, sizeof base, "%s", in_dir("second.uqz"));
    pack(in_dir("pair-tuned"), in_dir("third.uqz"), &delta);
    assert_int_equal(stat(in_dir("third.uqz"), &st), 0);
    assert_true(st.st_size < 5000);
    unpack(in_dir("third.uqz"), in_dir("tuned-4"), &plain);
    assert_same_file(in_dir("tuned-4/model.safetensors"), in_dir("pair-tuned/model.safetensors"));
}

/* An archive that took the place of what it is packed from could never be read again. */
static void a_delta_does_not_replace_what_it_needs(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char base[1024];
    make_pair(1000);
    pack(in_dir("pair-base"), in_dir("first.uqz"), &plain);
    snprintf(base, sizeof base, "%s", in_dir("first.uqz"));
    const struct pack_options one = { .n_threads = 2, .base = base, .overwrite = true };
    assert_fails(try_pack(NULL, in_dir("pair-tuned"), base, &one, &err), err, UQM_ERR_ARG,
                 "is what it would be packed from");
    pack(in_dir("pair-tuned"), in_dir("next.uqz"), &one);
    snprintf(base, sizeof base, "%s", in_dir("next.uqz"));
    assert_int_equal(link(in_dir("first.uqz"), in_dir("alias.uqz")), 0);
    assert_fails(try_pack(NULL, in_dir("pair-tuned"), in_dir("alias.uqz"), &one, &err), err,
                 UQM_ERR_ARG, "alias.uqz: is what it would be packed from");
    unpack(in_dir("next.uqz"), in_dir("as-it-was"), &plain);
    assert_same_file(in_dir("as-it-was/model.safetensors"), in_dir("pair-tuned/model.safetensors"));
}

static void another_base_is_noticed_before_a_wrong_byte_is_handed_out(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char base[1024];
    snprintf(base, sizeof base, "%s", in_dir("elsewhere/moved"));
    const struct pack_options delta = { .n_threads = 2, .base = base };
    int fd = open(in_dir("elsewhere/moved/model.safetensors"), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\xA5\x5A", 2, 500000), 2);
    close(fd);
    assert_fails(try_unpack(in_dir("tuned.uqz"), in_dir("tuned-5"), &delta, &err), err,
                 UQM_ERR_FORMAT, "the base is not the one it was packed from");
    assert_int_equal(truncate(in_dir("elsewhere/moved/model.safetensors"), 1000), 0);
    assert_fails(try_unpack(in_dir("tuned.uqz"), in_dir("tuned-5"), &delta, &err), err,
                 UQM_ERR_FORMAT, "not the same base");
    assert_int_equal(access(in_dir("tuned-5"), F_OK), -1);
}

/* --- going on --- */

struct stopping {
    volatile int cancel;
    uint64_t after_bytes;
};

/* Interrupts once so many bytes are packed, or unpacked. */
static void stop(void *ctx, const struct uqm_progress *progress)
{
    struct stopping *s = ctx;
    if ((strcmp(progress->stage, "packing") == 0 || strcmp(progress->stage, "unpacking") == 0) &&
        progress->done >= s->after_bytes)
        s->cancel = 1;
}

static int pack_until(const char *archive, uint64_t after_bytes, json_t **out, struct uqm_err *err)
{
    struct stopping s = { .after_bytes = after_bytes };
    char *text = NULL;
    const struct uqm_pack_params params = {
        .common = { .n_threads = 2,
                    .memory = 64 << 20,
                    .progress = stop,
                    .ctx = &s,
                    .cancel = &s.cancel },
        .dir = in_dir("big"),
        .archive = archive,
    };
    int ret = uqm_pack(&text, &params, err);
    *out = parse_result(text);
    return ret;
}

static void an_interrupted_pack_goes_on_and_ends_in_the_same_bytes(void **state)
{
    (void) state;
    enum { N = 8 << 20 };
    uint8_t *w = make_weights(UQM_BF16, N, 77, 0.02);
    put_small_model("big", w, N);
    put_file(in_dir("big/a.empty"), "", 0);
    put_file(in_dir("big/z.bytes"), w, 3000001);
    free(w);
    pack(in_dir("big"), in_dir("big.uqz"), &plain);
    for (int damage = 0; damage < 3; damage++) {
        struct uqm_err err = { 0 };
        json_t *result = NULL;
        unsigned n_stops = 0, n_resumed = 0;
        int ret;
        do {
            uint64_t upto = n_stops < 4 ? (n_stops + 1) * (UINT64_C(9) << 19) : UINT64_MAX;
            ret = pack_until(in_dir("parts.uqz"), upto, &result, &err);
            if (ret < 0)
                assert_int_equal(ret, UQM_ERR_INTERRUPTED);
            assert_int_equal(access(in_dir("parts.uqz"), F_OK), ret < 0 ? -1 : 0);
            n_resumed += json_is_true(json_object_get(result, "resumed"));
            if (ret < 0 && damage) { /* of what the journal says is there, a byte is not */
                int fd = open(in_dir(".parts.uqz.part/out"), O_RDWR);
                if (fd >= 0) {
                    assert_int_equal(pwrite(fd, "\x5A\xA5\x5A", 3, damage == 1 ? 100 : 6000000), 3);
                    close(fd);
                }
            }
            json_decref(result);
        } while (ret < 0 && n_stops++ < 20);
        assert_ok(ret, err);
        assert_int_equal(n_stops, 4);
        assert_int_equal(n_resumed, damage == 1 ? 0 : 1);
        assert_same_file(in_dir("parts.uqz"), in_dir("big.uqz"));
        assert_int_equal(access(in_dir(".parts.uqz.part"), F_OK), -1);
        unlink(in_dir("parts.uqz"));
    }
}

static int unpack_until(const char *dir, uint64_t after_bytes, json_t **out, struct uqm_err *err)
{
    struct stopping s = { .after_bytes = after_bytes };
    char *text = NULL;
    const struct uqm_unpack_params params = {
        .common = { .n_threads = 2,
                    .memory = 64 << 20,
                    .sync_bytes = 1 << 20,
                    .progress = stop,
                    .ctx = &s,
                    .cancel = &s.cancel },
        .archive = in_dir("big.uqz"),
        .out_dir = dir,
    };
    int ret = uqm_unpack(&text, &params, err);
    *out = parse_result(text);
    return ret;
}

/* A bit of what is on the disk is another one than was written. */
static void flip_at(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void assert_parts_are_those_of_big(void)
{
    static const char *const names[] = { "a.empty", "b.sh", "config.json", "model.safetensors",
                                         "z.bytes" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_same_file(in_dir("parts/%s", names[i]), in_dir("big/%s", names[i]));
    struct stat st;
    assert_int_equal(stat(in_dir("parts/b.sh"), &st), 0);
    assert_true(st.st_mode & S_IXUSR);
}

static void an_interrupted_unpack_goes_on_and_ends_in_the_same_bytes(void **state)
{
    (void) state;
    enum { N = 4 << 20 };
    uint8_t *w = make_weights(UQM_BF16, N, 78, 0.02);
    put_small_model("big", w, N);
    put_file(in_dir("big/a.empty"), "", 0);
    put_file(in_dir("big/b.sh"), w, 2500001);
    assert_int_equal(chmod(in_dir("big/b.sh"), 0755), 0);
    put_file(in_dir("big/z.bytes"), w, 3000001);
    free(w);
    unlink(in_dir("big.uqz"));
    pack(in_dir("big"), in_dir("big.uqz"), &plain);
    static const char *const damaged[] = { NULL, "b.sh", "model.safetensors" };
    char *dir = strdup(in_dir("parts"));
    for (int damage = 0; damage < 4; damage++) {
        struct uqm_err err = { 0 };
        json_t *result = NULL;
        unsigned n_stops = 0;
        int ret;
        do {
            uint64_t upto = n_stops < 4 ? (n_stops + 1) * (UINT64_C(11) << 18) : UINT64_MAX;
            ret = unpack_until(dir, upto, &result, &err);
            if (ret < 0)
                assert_int_equal(ret, UQM_ERR_INTERRUPTED);
            assert_int_equal(access(dir, F_OK), ret < 0 ? -1 : 0);
            if (ret < 0 && damage == 3) { /* what an output was begun from is another one now */
                const struct timespec time = { .tv_sec = 1000000000 + n_stops };
                const struct timespec times[2] = { time, time };
                assert_int_equal(utimensat(AT_FDCWD, in_dir("big.uqz"), times, 0), 0);
            }
            if (ret < 0 && n_stops == 3 && damage < 3 && damaged[damage])
                flip_at(in_dir(".parts.part/out/%s", damaged[damage]), 1048577);
            if (ret < 0)
                json_decref(result);
        } while (ret < 0 && n_stops++ < 20);
        assert_ok(ret, err);
        assert_int_equal(n_stops, 4);
        bool resumed = json_is_true(json_object_get(result, "resumed"));
        /* of model.safetensors, in the middle of which it was stopped, only b.sh is left */
        assert_int_equal(resumed, damage == 0 || damage == 2);
        json_decref(result);
        assert_parts_are_those_of_big();
        assert_int_equal(access(in_dir(".parts.part"), F_OK), -1);
        assert_ok(uqm_remove_tree(dir, &err), err);
    }
    free(dir);
}

/* --- reading --- */

static void every_range_of_a_packed_file_is_that_of_the_file(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 2);
    struct uqm_file *file = NULL;
    size_t len;
    uint8_t *all = get_file(in_dir("pair-tuned/model.safetensors"), &len), *some = malloc(len);
    assert_non_null(some);
    pack(in_dir("pair-tuned"), in_dir("alone.uqz"), &plain);
    assert_ok(uqm_model_file_open(&file, env, in_dir("alone.uqz/model.safetensors"), &err), err);
    assert_int_equal(file->size_bytes, len);
    for (uint64_t i = 0; i < 400; i++) {
        size_t off = bits_at(i) % len, n = bits_at(i + 1000) % (i % 2 ? 3000 : 600000);
        n = n < len - off ? n : len - off;
        assert_ok(uqm_file_read(file, some, n, off, &err), err);
        assert_memory_equal(some, all + off, n);
    }
    assert_fails(uqm_file_read(file, some, 2, len - 1, &err), err, UQM_ERR_FORMAT, "ends at");
    assert_ok(uqm_file_check_unchanged(file, &err), err);
    uqm_file_close(&file);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    assert_true(uqm_model_file_open(&file, env, in_dir("alone.uqz/absent"), &err) < 0);
    assert_int_equal(uqm_find_model_file(in_dir("alone.uqz/absent"), NULL, &err), 0);
    free(all);
    free(some);
}

static void an_archive_is_the_checkpoint_that_was_packed(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text = NULL;
    const struct uqm_diff_params params = { .common = { .n_threads = 2 },
                                            .path_a = zoo_path("models/base"),
                                            .path_b = in_dir("base.uqz") };
    assert_ok(uqm_diff(&text, &params, &err), err);
    json_t *v = parse_result(text);
    assert_int_equal(json_integer_value(json_object_get(v, "identical")), 132);
    assert_int_equal(json_integer_value(json_object_get(v, "changed")), 0);
    json_decref(v);

    struct uqm_checkpoint *cp = NULL;
    const struct uqm_checkpoint_params open = { .path = in_dir("base.uqz") };
    struct uqm_env *env = test_env(64 << 20, 2);
    assert_ok(uqm_checkpoint_open(&cp, env, &open, &err), err);
    assert_true(cp->is_archive);
    assert_string_equal(cp->source.home, in_dir("base.uqz"));
    assert_string_equal(cp->architecture, "LlavaForConditionalGeneration");
    size_t len, n;
    char *path = uqm_path_join(cp->source.home, "tokenizer.model"), *data = NULL;
    uint8_t *want = get_file(zoo_path("models/base/tokenizer.model"), &n);
    assert_ok(uqm_read_model_file(&data, &len, path, 1 << 20, &err), err);
    assert_int_equal(len, n);
    assert_memory_equal(data, want, n);
    free(path);
    free(data);
    free(want);
    uqm_checkpoint_close(&cp);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_zoo_comes_back_to_the_byte),
        cmocka_unit_test(the_zoo_s_weights_pack_to_within_a_hundredth_of_their_entropy),
        cmocka_unit_test(the_archive_depends_on_the_folder_alone),
        cmocka_unit_test(odd_folders_come_back_too),
        cmocka_unit_test(what_cannot_be_packed_is_refused_by_name),
        cmocka_unit_test(an_archive_cut_anywhere_is_refused),
        cmocka_unit_test(a_flipped_byte_anywhere_is_found_and_never_reaches_a_folder),
        cmocka_unit_test(a_delta_needs_its_base_and_finds_it),
        cmocka_unit_test(a_delta_does_not_replace_what_it_needs),
        cmocka_unit_test(another_base_is_noticed_before_a_wrong_byte_is_handed_out),
        cmocka_unit_test(an_interrupted_pack_goes_on_and_ends_in_the_same_bytes),
        cmocka_unit_test(an_interrupted_unpack_goes_on_and_ends_in_the_same_bytes),
        cmocka_unit_test(every_range_of_a_packed_file_is_that_of_the_file),
        cmocka_unit_test(an_archive_is_the_checkpoint_that_was_packed),
    };
    return cmocka_run_group_tests(tests, make_archive_dir, drop_archive_dir);
}
