/*
 * A tokenizer's files in a folder. The first byte says what the main one is (an even number:
 * tokenizer.json, an odd one: vocab.json), then come its bytes, those of added_tokens.json and of
 * tokenizer_config.json, with a byte 0 between them. Every token that is read must be found again.
 */
#include <fcntl.h>
#include <unistd.h>

#include "src/model/vocabulary.h"
#include "tests/fuzz/fuzz.h"

enum { TOKENIZER, VOCAB, ADDED, CONFIG, N_FILES };
static const char *const names[N_FILES] = { "tokenizer.json", "vocab.json", "added_tokens.json",
                                            "tokenizer_config.json" };
static char dir[96];

static void path_of(char *path, size_t size, int file)
{
    snprintf(path, size, "%s/%s", dir, names[file]);
}

static void remove_dir(void)
{
    char path[128];
    for (int i = 0; i < N_FILES; i++) {
        path_of(path, sizeof path, i);
        unlink(path);
    }
    rmdir(dir);
}

/* data NULL: there is no such file. */
static void put(int file, const uint8_t *data, size_t n)
{
    char path[128];
    path_of(path, sizeof path, file);
    if (!data) {
        unlink(path);
        return;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (n > 0 && write(fd, data, n) != (ssize_t) n))
        abort();
    close(fd);
}

static void put_files(const uint8_t *data, size_t size)
{
    const int main_file = data[0] & 1 ? VOCAB : TOKENIZER;
    const int order[] = { main_file, ADDED, CONFIG };
    const uint8_t *at = data + 1, *end = data + size;
    put(main_file == VOCAB ? TOKENIZER : VOCAB, NULL, 0);
    for (int i = 0; i < 3; i++) {
        const uint8_t *cut = at && i < 2 ? memchr(at, 0, (size_t) (end - at)) : NULL;
        put(order[i], at, at ? (size_t) ((cut ? cut : end) - at) : 0);
        at = cut ? cut + 1 : NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (!dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%.60s/fuzz-vocabulary-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(dir) || atexit(remove_dir) != 0)
            abort();
    }
    put_files(data, size);

    struct uqm_vocab *v = NULL;
    struct uqm_err err = { 0 };
    const int ret = uqm_vocabulary_read(&v, dir, &err);
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!v);
        return 0;
    }
    const uint32_t next = uqm_vocabulary_next_id(v);
    FUZZ_CHECK(v->n_own <= v->n);
    for (size_t i = 0; i < v->n; i++) {
        const struct uqm_vocab_token *t = &v->v[i];
        FUZZ_CHECK(t->id < UQM_VOCABULARY_MOST_ID && (!t->added || t->id < next));
        FUZZ_CHECK(t->text[t->len] == 0 && uqm_vocabulary_find(v, t->text, t->len) == t);
    }
    uqm_vocabulary_free(&v);
    return 0;
}
