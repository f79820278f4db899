/*
 * One run of one command: the library's callbacks, the signals, and what comes out at the end.
 */
#ifndef UQM_TOOLS_SESSION_H
#define UQM_TOOLS_SESSION_H

#include <jansson.h>

#include "tools/cli.h"
#include "tools/progress.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_DIFFERS = 3,
    EXIT_INTERRUPTED = 130,
};

struct session {
    struct cli_common *options;
    struct progress progress;
    int stdout_errno; /* of the document's write; 0: it went well */
};

/* Prints a result for people. flags: the command's own. */
typedef void (*print_fn)(FILE *out, const json_t *result, unsigned flags);

/*
 * Wire the options to the callbacks and the signals: options->uqm is ready to be copied into a
 * params struct afterwards.
 */
void session_init(struct session *s, struct cli_common *options);

/*
 * The call returned `ret` and perhaps *json: print both, free the text, give the exit code.
 * print: for people; with --json the document itself is printed.
 */
int session_finish(struct session *s, int ret, char **json, print_fn print, unsigned flags,
                   const struct uqm_err *err);

/* Before there is a session: "uqmerge: error: ..." and the code's exit status. */
int session_refuse(int code, const struct uqm_err *err);

/* Everything on standard output has reached it; else an error line and EXIT_FAILED. */
int session_close_stdout(int exit_code);

/*
 * First of all: where a standard stream was closed by whoever started the program, take its number,
 * so that no file opened later gets it and, with it, what is meant for people. Reading and writing
 * such a stream fails with EBADF, as if it were still closed.
 */
void session_hold_streams(void);

/* A signal that ends the program asks the running call to wind up; a second one ends it at once. */
void session_catch_signals(void);

#endif
