#include "io/sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/direct.h"
#include "io/engine.h"
#include "io/engine_impl.h"
#include "io/file.h"
#include "io/pool.h"
#include "src/base/checked.h"

enum { MIN_BUFFER_BYTES = 64 << 10, MAX_BUFFER_BYTES = 4 << 20, MAX_BUFFERS = 64 };

/*
 * Buffers go round in a ring: number k of the file's blocks is gathered in buffer k mod n, then
 * hashed and written at the same time, both of which only read it. It is free for block k + n
 * when both are done. Blocks are hashed in order and written in any.
 */
struct block {
    struct uqm_op op;
    size_t len;
    bool written; /* the producer's; true before the first use */
};

struct sink_hash {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    /* under lock: */
    uint64_t n_given, n_hashed; /* blocks */
    bool stopping;
};

struct uqm_sink {
    struct uqm_env *env;
    char *path;
    uint64_t size_bytes, off_bytes; /* off_bytes: where the current block begins */
    size_t fill;                    /* bytes in the current block */
    uint64_t n_blocks;              /* handed on so far */
    int fd, direct_fd;
    uint32_t off_align;
    struct uqm_pool pool;
    struct block *blocks; /* one a buffer */
    struct uqm_io *io;
    const struct uqm_io_faults *faults;
    struct uqm_file_hash *digest;
    struct sink_hash hash;
    bool at_most; /* may end before size_bytes; no digest */
    bool finished, keep_file, spoilt;
    struct uqm_err failure; /* once set, all there is to say */
};

static void *hash_blocks(void *arg)
{
    struct uqm_sink *s = arg;
    struct sink_hash *h = &s->hash;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        if (h->stopping)
            break;
        if (h->n_hashed == h->n_given) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        size_t i = h->n_hashed % s->pool.n_bufs;
        pthread_mutex_unlock(&h->lock);
        uqm_file_hash_update(s->digest, s->pool.bufs[i], s->blocks[i].len);
        pthread_mutex_lock(&h->lock);
        h->n_hashed++;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void give_to_hash(struct sink_hash *h)
{
    if (!h->running)
        return;
    pthread_mutex_lock(&h->lock);
    h->n_given++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void wait_for_hash(struct sink_hash *h, uint64_t n_blocks)
{
    if (!h->running)
        return;
    pthread_mutex_lock(&h->lock);
    while (h->n_hashed < n_blocks)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static int start_hash(struct uqm_sink *s, struct uqm_err *err)
{
    if (s->at_most)
        return UQM_OK;
    int ret = uqm_file_hash_create(&s->digest, s->path, err);
    if (ret < 0)
        return ret;
    pthread_mutex_init(&s->hash.lock, NULL);
    pthread_cond_init(&s->hash.changed, NULL);
    int e = uqm_io_thread(&s->hash.thread, hash_blocks, s);
    if (e != 0) {
        pthread_cond_destroy(&s->hash.changed);
        pthread_mutex_destroy(&s->hash.lock);
        return uqm_fail_errno_of(err, e, "%s: the hashing thread", s->path);
    }
    s->hash.running = true;
    return UQM_OK;
}

static void stop_hash(struct uqm_sink *s)
{
    struct sink_hash *h = &s->hash;
    if (h->running) {
        uqm_io_stop_thread(h->thread, &h->lock, &h->changed, &h->stopping);
        pthread_cond_destroy(&h->changed);
        pthread_mutex_destroy(&h->lock);
        h->running = false;
    }
    uqm_file_hash_destroy(&s->digest);
}

static int fault_or(int (*fault)(void *ctx), void *ctx, int e)
{
    int injected = fault ? fault(ctx) : 0;
    return injected ? injected : e;
}

/* Blocks first, so that a full disk is known now; where the file system has no such call, the
 * size alone. */
static int reserve(struct uqm_sink *s, struct uqm_err *err)
{
    if (s->size_bytes > INT64_MAX)
        return uqm_fail(err, UQM_ERR_ARG, "%s: no file has %" PRIu64 " bytes", s->path,
                        s->size_bytes);
    if (s->size_bytes == 0)
        return UQM_OK;
    int e = s->faults ? fault_or(s->faults->reserve, s->faults->ctx, 0) : 0;
    while (e == 0 && fallocate(s->fd, 0, 0, (off_t) s->size_bytes) != 0) {
        e = errno;
        if (e == EINTR && uqm_check_cancel(s->env, err) == UQM_OK)
            e = 0;
        else
            break;
    }
    if (e == EOPNOTSUPP || e == ENOSYS || (s->at_most && (e == ENOSPC || e == EDQUOT)))
        e = ftruncate(s->fd, (off_t) s->size_bytes) == 0 ? 0 : errno;
    if (e == 0)
        return UQM_OK;
    return uqm_fail_errno_of(err, e, "%s: reserving %" PRIu64 " bytes", s->path, s->size_bytes);
}

static int open_past_cache(struct uqm_sink *s, struct uqm_err *err)
{
    enum uqm_direct wish = s->env->direct;
    if (wish == UQM_DIRECT_OFF || s->size_bytes < UQM_DIRECT_MAX_ALIGN)
        return UQM_OK;
    if (wish == UQM_DIRECT_AUTO && s->size_bytes < UQM_DIRECT_MIN_BYTES)
        return UQM_OK;
    uint32_t mem_align; /* buffers are aligned to UQM_DIRECT_MAX_ALIGN already */
    int e = s->faults ? fault_or(s->faults->open_direct, s->faults->ctx, 0) : 0;
    if (e == 0)
        e = uqm_direct_open(&s->direct_fd, &s->off_align, &mem_align, s->path, O_WRONLY, s->fd);
    if (e != 0 && wish == UQM_DIRECT_ON)
        return uqm_fail_errno_of(err, e, "--direct on: %s", s->path);
    if (e == 0)
        atomic_store(&s->env->direct_used, 1);
    return UQM_OK;
}

/* Small files get small buffers: two at least, at most what the file fills. */
static int make_buffers(struct uqm_sink *s, uint64_t memory_bytes, struct uqm_err *err)
{
    uint64_t whole = uqm_align_up(uqm_min_u64(s->size_bytes, UINT64_C(1) << 40), MIN_BUFFER_BYTES);
    memory_bytes = uqm_min_u64(memory_bytes, uqm_max_u64(whole, 2 * MIN_BUFFER_BYTES));
    uint64_t buf = memory_bytes / 4 / MIN_BUFFER_BYTES * MIN_BUFFER_BYTES;
    buf = uqm_min_u64(uqm_max_u64(buf, MIN_BUFFER_BYTES), MAX_BUFFER_BYTES);
    size_t n = (size_t) uqm_min_u64(uqm_max_u64(memory_bytes / buf, 2), MAX_BUFFERS);

    int ret = uqm_pool_init(&s->pool, s->env, (size_t) buf, n, "the writing buffers", err);
    if (ret < 0)
        return ret;
    s->blocks = calloc(n, sizeof *s->blocks);
    if (!s->blocks)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", s->path);
    for (size_t i = 0; i < n; i++)
        s->blocks[i].written = true;
    return uqm_io_create_with(&s->io, s->env, (unsigned) n, s->faults, err);
}

static int make(struct uqm_sink **out, struct uqm_env *env, const char *path, uint64_t size_bytes,
                bool at_most, const struct uqm_io_faults *faults, struct uqm_err *err)
{
    struct uqm_sink *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    *s = (struct uqm_sink){ .env = env,
                            .size_bytes = size_bytes,
                            .at_most = at_most,
                            .fd = -1,
                            .direct_fd = -1,
                            .off_align = 1,
                            .faults = faults };
    s->path = strdup(path);
    *out = s;
    return s->path ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
}

/* The file is open. */
static int get_ready(struct uqm_sink *s, struct uqm_err *err)
{
    int ret = reserve(s, err);
    if (ret == UQM_OK)
        ret = open_past_cache(s, err);
    return ret == UQM_OK ? start_hash(s, err) : ret;
}

static int create(struct uqm_sink **out, struct uqm_env *env, const char *path, uint64_t size_bytes,
                  bool at_most, uint64_t memory_bytes, const struct uqm_io_faults *faults,
                  struct uqm_err *err)
{
    struct uqm_sink *s = NULL;
    int ret = make(&s, env, path, size_bytes, at_most, faults, err);
    if (ret == UQM_OK)
        ret = make_buffers(s, memory_bytes, err);
    if (ret == UQM_OK) {
        s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        ret = s->fd < 0 ? uqm_fail_errno(err, "%s", path) : get_ready(s, err);
    }
    if (ret < 0)
        uqm_sink_destroy(&s);
    else
        *out = s;
    return ret;
}

int uqm_sink_create_with(struct uqm_sink **out, struct uqm_env *env, const char *path,
                         uint64_t size_bytes, uint64_t memory_bytes,
                         const struct uqm_io_faults *faults, struct uqm_err *err)
{
    return create(out, env, path, size_bytes, false, memory_bytes, faults, err);
}

int uqm_sink_create_at_most(struct uqm_sink **out, struct uqm_env *env, const char *path,
                            uint64_t most_bytes, uint64_t memory_bytes, struct uqm_err *err)
{
    return create(out, env, path, most_bytes, true, memory_bytes, NULL, err);
}

int uqm_sink_create(struct uqm_sink **out, struct uqm_env *env, const char *path,
                    uint64_t size_bytes, uint64_t memory_bytes, struct uqm_err *err)
{
    return uqm_sink_create_with(out, env, path, size_bytes, memory_bytes, NULL, err);
}

static void unlink_unfinished(const struct uqm_sink *s)
{
    struct stat ours, there;
    if (fstat(s->fd, &ours) == 0 && lstat(s->path, &there) == 0 && ours.st_dev == there.st_dev &&
        ours.st_ino == there.st_ino)
        unlink(s->path);
}

void uqm_sink_destroy(struct uqm_sink **sink)
{
    struct uqm_sink *s = *sink;
    if (!s)
        return;
    uqm_io_destroy(&s->io); /* waits: the kernel may be reading the buffers */
    stop_hash(s);
    if (s->fd >= 0 && !s->finished && !s->keep_file)
        unlink_unfinished(s);
    if (s->direct_fd >= 0)
        close(s->direct_fd);
    if (s->fd >= 0)
        close(s->fd);
    uqm_pool_finish(&s->pool);
    free(s->blocks);
    free(s->path);
    free(s);
    *sink = NULL;
}

/* A full disk says so before it loses anything; of other failures nobody knows what they took. */
static int write_failed(struct uqm_sink *s, const struct uqm_op *op, struct uqm_err *err)
{
    int e = op->sys_errno;
    s->spoilt |= e != ENOSPC && e != EDQUOT && e != EFBIG;
    return uqm_fail_errno_of(err, op->sys_errno, "%s: writing bytes [%" PRIu64 ", %" PRIu64 ")",
                             s->path, op->off_bytes, op->off_bytes + op->len);
}

static int submit(struct uqm_sink *s, struct block *b, size_t skip, size_t len, uint64_t off_bytes,
                  bool direct, struct uqm_err *err)
{
    int index = (int) (b - s->blocks);
    b->op = (struct uqm_op){
        .kind = UQM_OP_WRITE,
        .fd = direct ? s->direct_fd : s->fd,
        .buf = (char *) s->pool.bufs[index] + skip,
        .len = len,
        .min_len = len,
        .off_bytes = off_bytes,
        .align = direct ? s->off_align : 1,
        .buf_index = index,
        .user = b,
    };
    b->written = false;
    return uqm_io_submit(s->io, &b->op, err);
}

/* One write that has come back. */
static int take_back(struct uqm_sink *s, struct uqm_op *op, struct uqm_err *err)
{
    struct block *b = op->user;
    b->written = true;
    /* Some file systems take O_DIRECT and then refuse single extents. */
    if (op->sys_errno == EINVAL && op->align > 1 && s->env->direct != UQM_DIRECT_ON)
        return submit(s, b, 0, op->len, op->off_bytes, false, err);
    if (op->sys_errno != 0)
        return write_failed(s, op, err);
    atomic_fetch_add(&s->env->bytes_written, op->len);
    if (op->align <= 1) /* start now what fsync would otherwise wait for at the end */
        sync_file_range(s->fd, (off_t) op->off_bytes, (off_t) op->len, SYNC_FILE_RANGE_WRITE);
    return UQM_OK;
}

static struct block *current_block(struct uqm_sink *s)
{
    return &s->blocks[s->n_blocks % s->pool.n_bufs];
}

/* Hash and write the current block, up to where O_DIRECT can: the odd bytes of the file's last
 * page wait for finish(), so that no page is written both ways at once. */
static int hand_on(struct uqm_sink *s, struct uqm_err *err)
{
    struct block *b = current_block(s);
    bool direct = s->direct_fd >= 0;
    size_t len = direct ? s->fill & ~(size_t) (UQM_DIRECT_MAX_ALIGN - 1) : s->fill;
    b->len = s->fill;
    give_to_hash(&s->hash);
    if (s->n_blocks++ == UQM_ROUNDS_BEFORE_REGISTERING * s->pool.n_bufs)
        uqm_io_register(s->io, s->pool.bufs, s->pool.buf_bytes, s->pool.n_bufs);
    if (len == 0)
        return UQM_OK;
    return submit(s, b, 0, len, s->off_bytes, direct, err);
}

/* Wait until the current block's buffer is free of the block that was in it before. */
static int free_buffer(struct uqm_sink *s, struct uqm_err *err)
{
    int ret = uqm_check_cancel(s->env, err);
    while (ret == UQM_OK && !current_block(s)->written) {
        ret = take_back(s, uqm_io_wait(s->io), err);
        if (ret == UQM_OK)
            ret = uqm_check_cancel(s->env, err);
    }
    if (ret == UQM_OK && s->n_blocks >= s->pool.n_bufs)
        wait_for_hash(&s->hash, s->n_blocks - s->pool.n_bufs + 1);
    return ret;
}

static int append(struct uqm_sink *s, const uint8_t *data, size_t n_bytes, struct uqm_err *err)
{
    uint64_t at = s->off_bytes + s->fill;
    if (n_bytes > s->size_bytes - at)
        return uqm_fail(err, UQM_ERR_ARG, "%s: %zu bytes at %" PRIu64 " go past its %" PRIu64,
                        s->path, n_bytes, at, s->size_bytes);
    while (n_bytes > 0) {
        int ret = s->fill == 0 ? free_buffer(s, err) : UQM_OK;
        if (ret < 0)
            return ret;
        size_t n = (size_t) uqm_min_u64(n_bytes, s->pool.buf_bytes - s->fill);
        char *buf = s->pool.bufs[s->n_blocks % s->pool.n_bufs];
        memcpy(buf + s->fill, data, n);
        data += n;
        n_bytes -= n;
        s->fill += n;
        if (s->fill < s->pool.buf_bytes)
            break;
        ret = hand_on(s, err);
        if (ret < 0)
            return ret;
        s->off_bytes += s->fill;
        s->fill = 0;
    }
    return UQM_OK;
}

static int failed(struct uqm_sink *s, const struct uqm_err *why, struct uqm_err *err)
{
    if (s->failure.code == UQM_OK)
        s->failure = *why;
    if (err)
        *err = s->failure;
    return s->failure.code;
}

int uqm_sink_write(struct uqm_sink *sink, const void *data, size_t n_bytes, struct uqm_err *err)
{
    struct uqm_err why = { 0 };
    assert(!sink->finished);
    if (sink->failure.code == UQM_OK && append(sink, data, n_bytes, &why) == UQM_OK)
        return UQM_OK;
    return failed(sink, &why, err);
}

static int drain(struct uqm_sink *s, struct uqm_err *err)
{
    struct uqm_op *op;
    int ret = UQM_OK;
    while (ret == UQM_OK && (op = uqm_io_wait(s->io)))
        ret = take_back(s, op, err);
    return ret;
}

/* The last block, and after all else the odd bytes that O_DIRECT cannot write. */
static int write_last(struct uqm_sink *s, struct uqm_err *err)
{
    struct block *b = current_block(s);
    int ret = s->fill > 0 ? hand_on(s, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = drain(s, err);
    size_t odd = s->direct_fd >= 0 ? s->fill & (UQM_DIRECT_MAX_ALIGN - 1) : 0;
    if (ret < 0 || odd == 0)
        return ret;
    size_t skip = s->fill - odd;
    ret = submit(s, b, skip, odd, s->off_bytes + skip, false, err);
    return ret == UQM_OK ? drain(s, err) : ret;
}

/* A failed fsync is final: the kernel may have dropped the pages, and the next one succeeds. */
static int sync_file(struct uqm_sink *s, struct uqm_err *err)
{
    int e = s->faults ? fault_or(s->faults->sync, s->faults->ctx, 0) : 0;
    while (e == 0 && fsync(s->fd) != 0) {
        e = errno;
        if (e != EINTR)
            break;
        e = 0;
    }
    s->spoilt |= e != 0;
    return e == 0 ? UQM_OK : uqm_fail_errno_of(err, e, "%s: syncing it to the disk", s->path);
}

static int complete(struct uqm_sink *s, struct uqm_err *err)
{
    uint64_t n = s->off_bytes + s->fill;
    if (n != s->size_bytes && !s->at_most)
        return uqm_fail(err, UQM_ERR_ARG, "%s: %" PRIu64 " of its %" PRIu64 " bytes were given",
                        s->path, n, s->size_bytes);
    int ret = write_last(s, err);
    if (ret == UQM_OK)
        ret = uqm_check_cancel(s->env, err);
    if (ret < 0)
        return ret;
    if (n != s->size_bytes && ftruncate(s->fd, (off_t) n) != 0)
        return uqm_fail_errno(err, "%s: cutting it at %" PRIu64 " bytes", s->path, n);
    ret = sync_file(s, err);
    if (ret == UQM_OK)
        wait_for_hash(&s->hash, s->n_blocks);
    return ret;
}

int uqm_sink_finish(struct uqm_sink *sink, struct uqm_file_digest *digest, struct uqm_err *err)
{
    struct uqm_err why = { 0 };
    assert(!sink->finished && sink->at_most == !digest);
    if (sink->failure.code != UQM_OK || complete(sink, &why) < 0 ||
        (digest && uqm_file_hash_finish(sink->digest, digest, &why) < 0))
        return failed(sink, &why, err);
    if (sink->direct_fd >= 0)
        close(sink->direct_fd);
    close(sink->fd);
    sink->fd = sink->direct_fd = -1;
    sink->finished = true;
    return UQM_OK;
}

/* --- for a later run --- */

int uqm_sink_flush(struct uqm_sink *sink, bool all, uint64_t *n_bytes, struct uqm_err *err)
{
    struct uqm_err why = { 0 };
    if (sink->finished) {
        *n_bytes = sink->size_bytes;
        return UQM_OK;
    }
    if (sink->failure.code != UQM_OK && sink->failure.code != UQM_ERR_INTERRUPTED)
        return failed(sink, &why, err);
    int ret = all ? write_last(sink, &why) : drain(sink, &why);
    if (ret < 0 || sync_file(sink, &why) < 0)
        return failed(sink, &why, err);
    *n_bytes = sink->off_bytes + (all ? sink->fill : 0);
    return UQM_OK;
}

bool uqm_sink_is_spoilt(const struct uqm_sink *sink)
{
    return sink->spoilt;
}

void uqm_sink_keep_file(struct uqm_sink *sink)
{
    sink->keep_file = true;
}

static int open_again(struct uqm_sink *s, struct uqm_err *err)
{
    struct stat st;
    s->fd = open(s->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (s->fd < 0 && errno != ENOENT && errno != ELOOP)
        return uqm_fail_errno(err, "%s", s->path);
    if (s->fd < 0 || fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t) st.st_size != s->size_bytes)
        return uqm_fail(err, UQM_ERR_CHECK, "%s: not the file of %" PRIu64 " bytes that was left",
                        s->path, s->size_bytes);
    posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return UQM_OK;
}

static int read_block(struct uqm_sink *s, size_t len, struct uqm_err *err)
{
    struct block *b = current_block(s);
    int index = (int) (b - s->blocks);
    b->op = (struct uqm_op){ .kind = UQM_OP_READ,
                             .fd = s->fd,
                             .buf = s->pool.bufs[index],
                             .len = len,
                             .min_len = len,
                             .off_bytes = s->off_bytes,
                             .align = 1,
                             .buf_index = index };
    int ret = uqm_io_submit(s->io, &b->op, err);
    if (ret < 0)
        return ret;
    uqm_io_wait(s->io);
    if (b->op.sys_errno == 0)
        return UQM_OK;
    return uqm_fail_errno_of(err, b->op.sys_errno,
                             "%s: reading back bytes [%" PRIu64 ", %" PRIu64 ")", s->path,
                             s->off_bytes, s->off_bytes + len);
}

/* The blocks are those of an unbroken run; the last one is left as if it had been appended, and
 * written once more when it is full. */
static int read_back(struct uqm_sink *s, uint64_t n_bytes, uqm_sink_check_fn check, void *ctx,
                     struct uqm_err *err)
{
    while (s->off_bytes < n_bytes) {
        size_t len = (size_t) uqm_min_u64(s->pool.buf_bytes, n_bytes - s->off_bytes);
        int ret = free_buffer(s, err);
        if (ret == UQM_OK)
            ret = read_block(s, len, err);
        if (ret == UQM_OK)
            ret = check(ctx, s->pool.bufs[s->n_blocks % s->pool.n_bufs], len, err);
        if (ret < 0)
            return ret;
        if (len < s->pool.buf_bytes) {
            s->fill = len;
            return UQM_OK;
        }
        current_block(s)->len = len;
        give_to_hash(&s->hash);
        s->n_blocks++;
        s->off_bytes += len;
    }
    return UQM_OK;
}

static int reopen(struct uqm_sink **out, struct uqm_env *env, const char *path, uint64_t size_bytes,
                  bool at_most, uint64_t memory_bytes, uint64_t n_bytes, uqm_sink_check_fn check,
                  void *ctx, struct uqm_err *err)
{
    struct uqm_sink *s = NULL;
    assert(n_bytes <= size_bytes);
    int ret = make(&s, env, path, size_bytes, at_most, NULL, err);
    if (ret == UQM_OK)
        ret = make_buffers(s, memory_bytes, err);
    if (ret == UQM_OK) {
        s->keep_file = true;
        ret = open_again(s, err);
    }
    if (ret == UQM_OK)
        ret = get_ready(s, err);
    if (ret == UQM_OK)
        ret = read_back(s, n_bytes, check, ctx, err);
    if (ret < 0) {
        uqm_sink_destroy(&s);
        return ret;
    }
    s->keep_file = false;
    *out = s;
    return UQM_OK;
}

int uqm_sink_reopen(struct uqm_sink **out, struct uqm_env *env, const char *path,
                    uint64_t size_bytes, uint64_t memory_bytes, uint64_t n_bytes,
                    uqm_sink_check_fn check, void *ctx, struct uqm_err *err)
{
    return reopen(out, env, path, size_bytes, false, memory_bytes, n_bytes, check, ctx, err);
}

int uqm_sink_reopen_at_most(struct uqm_sink **out, struct uqm_env *env, const char *path,
                            uint64_t most_bytes, uint64_t memory_bytes, uint64_t n_bytes,
                            uqm_sink_check_fn check, void *ctx, struct uqm_err *err)
{
    return reopen(out, env, path, most_bytes, true, memory_bytes, n_bytes, check, ctx, err);
}
