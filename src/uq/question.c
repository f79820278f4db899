#include "src/uq/question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/tokenizer.h"
#include "src/uq/answer_text.h"

static void put_hint(FILE *f, const struct uqm_record *record, const struct uqm_task *task)
{
    if (!record->hint || (task->hint_label && !*record->hint))
        return;
    fprintf(f, "%s%s\n", task->hint_label ? task->hint_label : "", record->hint);
}

static bool put_question(FILE *f, const char *question, enum uqm_question_form form)
{
    struct uqm_arena arena = { 0 };
    switch (form) {
    case UQM_QUESTION_AS_IS: break;
    case UQM_QUESTION_STRIPPED: question = uqm_answer_strip(&arena, question); break;
    case UQM_QUESTION_CAPITALIZED: question = uqm_answer_capitalize(&arena, question); break;
    }
    if (question)
        fputs(question, f);
    uqm_arena_finish(&arena);
    return question != NULL;
}

/* As lmms-eval has it: a choice that is a picture's file name stands for the picture. */
static const char *choice_text(const struct uqm_task *task, const char *choice)
{
    const bool picture = task->picture_choices && (strstr(choice, "jpg") || strstr(choice, "png"));
    return picture ? "<image>" : choice;
}

static const char *suffix_of(const struct uqm_record *record, const struct uqm_task *task)
{
    return task->kind == UQM_TASK_GENERATION && record->n_choices == 0 ? task->open_suffix
                                                                       : task->suffix;
}

char *uqm_question_text(const struct uqm_record *record, const struct uqm_task *task)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    put_hint(f, record, task);
    bool bad = !put_question(f, record->question, task->form);
    int letter = 'A';
    for (size_t i = 0; i < record->n_choices; i++)
        fprintf(f, "\n%c. %s", letter++, choice_text(task, record->choices[i]));
    for (size_t i = 0; i < task->n_extra; i++)
        fprintf(f, "\n%c. %s", letter++, task->extra[i]);
    fputs(suffix_of(record, task), f);

    bad |= ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        free(text);
        return NULL;
    }
    return text;
}

size_t uqm_question_marks(const char *text)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, "<image>")) != NULL; p += strlen("<image>"))
        n++;
    return n;
}

int uqm_question_prompt(char **out, const struct uqm_dataset *set, const struct uqm_record *record,
                        const struct uqm_task *task, const char *prefix, struct uqm_err *err)
{
    struct uqm_record_where where;
    char *text = uqm_question_text(record, task);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its prompt",
                        uqm_record_where(&where, set, record));

    size_t marks = uqm_question_marks(text), pictures = uqm_record_n_images(record);
    if (marks > pictures) {
        free(text);
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: its text has %zu <image> marks for %zu picture%s",
                        uqm_record_where(&where, set, record), marks, pictures,
                        pictures == 1 ? "" : "s");
    }
    *out = uqm_prompt_vicuna(prefix, task->system, pictures - marks, text);
    free(text);
    return *out ? UQM_OK
                : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its prompt",
                           uqm_record_where(&where, set, record));
}
