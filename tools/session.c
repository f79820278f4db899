#include "tools/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/text.h"

/* Set by the handler, seen by the library. The one global: a handler has no other way. */
static volatile int interrupted;

/* timeout(1) and its like send one signal to the process and again to its group: what comes so soon
 * after the first is the same wish. */
#define SAME_WISH_NS INT64_C(200000000)

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static void on_signal(int number)
{
    static volatile int64_t first_ns;
    (void) number;
    if (!interrupted) {
        first_ns = now_ns();
        interrupted = 1;
    } else if (now_ns() - first_ns > SAME_WISH_NS) {
        _exit(EXIT_INTERRUPTED);
    }
}

void session_hold_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/", O_PATH) < 0)
            _exit(EXIT_FAILED);
    }
}

void session_catch_signals(void)
{
    struct sigaction stop = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigemptyset(&stop.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    /* A closed pipe and the file size limit are errors of a write like any other. */
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

static void on_log(void *ctx, enum uqm_log_level level, const char *line)
{
    static const char *const prefixes[] = { "uqmerge: error: ", "uqmerge: warning: ", "uqmerge: ",
                                            "uqmerge: " };
    struct session *s = ctx;
    enum uqm_log_level most = s->options->quiet     ? UQM_LOG_ERROR
                              : s->options->verbose ? UQM_LOG_DEBUG
                                                    : UQM_LOG_INFO;
    if (level <= most)
        progress_say(&s->progress, prefixes[level], line);
}

static void on_progress(void *ctx, const struct uqm_progress *report)
{
    struct session *s = ctx;
    progress_report(&s->progress, report);
}

void session_init(struct session *s, struct cli_common *options)
{
    memset(s, 0, sizeof *s);
    s->options = options;
    progress_init(&s->progress, stderr, options);
    options->uqm.log = on_log;
    options->uqm.progress = on_progress;
    options->uqm.ctx = s;
    options->uqm.cancel = &interrupted;
}

static int exit_code(int ret)
{
    switch (ret) {
    case UQM_OK: return EXIT_DONE;
    case UQM_ERR_CHECK: return EXIT_DIFFERS;
    case UQM_ERR_INTERRUPTED: return EXIT_INTERRUPTED;
    case UQM_ERR_USAGE: return EXIT_USAGE;
    default: return EXIT_FAILED;
    }
}

/* A write of more than the stream's buffer fails at once and leaves nothing to flush: what became
 * of it is known here only. */
static int print_document(struct session *s, const char *json)
{
    errno = 0;
    if (fputs(json, stdout) == EOF)
        s->stdout_errno = errno;
    return EXIT_DONE;
}

static int print_result(struct session *s, const char *json, print_fn print, unsigned flags)
{
    if (s->options->json)
        return print_document(s, json);
    json_error_t why;
    json_t *result = json_loads(json, JSON_ALLOW_NUL, &why);
    if (!result) {
        fprintf(stderr, "uqmerge: error: the result: %s\n", why.text);
        return EXIT_FAILED;
    }
    print(stdout, result, flags);
    json_decref(result);
    return EXIT_DONE;
}

/* Where relative paths lead nowhere, whatever is said of them. */
static bool is_in_a_deleted_folder(void)
{
    char *dir = getcwd(NULL, 0);
    const bool deleted = !dir && errno == ENOENT;
    free(dir);
    return deleted;
}

/* where: before the message, or NULL: the message says it. */
static void print_error(const char *where, const struct uqm_err *err)
{
    /* What is printed so far comes first, also where both streams are one file. */
    fflush(stdout);
    fprintf(stderr, "uqmerge: error: %s%s", where ? where : "", where ? ": " : "");
    text_print(stderr, err->msg[0] ? err->msg : "failed without saying why");
    fputs(is_in_a_deleted_folder() ? " (the current directory has been deleted)\n" : "\n", stderr);
}

/* before: the errno of a write that failed already, or 0. */
static int close_stdout(int code, int before)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    int why = before ? before : errno;
    fprintf(stderr, "uqmerge: error: standard output: %s\n",
            why ? strerror(why) : "a write failed");
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int session_finish(struct session *s, int ret, char **json, print_fn print, unsigned flags,
                   const struct uqm_err *err)
{
    int code = exit_code(ret);
    progress_finish(&s->progress);
    if (*json && (ret == UQM_OK || ret == UQM_ERR_CHECK)) {
        int printed = print_result(s, *json, print, flags);
        code = printed == EXIT_DONE ? code : printed;
    }
    /* An interruption has no place but the command's. */
    if (ret < 0)
        print_error(ret == UQM_ERR_INTERRUPTED ? s->options->command : NULL, err);
    free(*json);
    *json = NULL;
    return close_stdout(code, s->stdout_errno);
}

int session_refuse(int code, const struct uqm_err *err)
{
    print_error(NULL, err);
    return code == UQM_ERR_ARG ? EXIT_USAGE : exit_code(code);
}

int session_close_stdout(int code)
{
    return close_stdout(code, 0);
}
