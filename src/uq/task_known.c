/* The tasks that the program knows by name. Generation as lmms-eval 0.2 asks and scores it (spec
 * uq.md 6), its own limits of new tokens included. */
#include <string.h>

#include "src/uq/task.h"

#define LETTER "\nAnswer with the option's letter from the given choices directly."
#define SHORT  "\nAnswer the question using a single word or phrase."
#define UNSURE "\nWhen the provided information is insufficient, respond with 'Unanswerable'."

void uqm_task_choice(struct uqm_task *out)
{
    out->kind = UQM_TASK_CHOICE;
    out->metric = "accuracy";
    out->suffix = LETTER;
    out->extra[0] = "I don't know";
    out->extra[1] = "None of the above";
    out->n_extra = 2;
}

static const char *const choice_names[] = { "multiple-choice", "mmbench",   "oodcv",
                                            "scienceqa",       "seedbench", "ai2d" };

/* "-gen": what is multiple choice under the plain name, answered in words. */
static const struct {
    const char *name;
    enum uqm_metric score;
    enum uqm_question_form form;
    uint32_t max_new_tokens;
    const char *suffix, *open_suffix; /* NULL: the suffix */
    const char *hint_label;
    bool picture_choices;
} generation[] = {
    { "short-answer", UQM_METRIC_EXACT_MATCH, UQM_QUESTION_AS_IS, 0, LETTER, SHORT, NULL, false },
    { "okvqa", UQM_METRIC_LMMS_VQA, UQM_QUESTION_AS_IS, 0, UNSURE SHORT, NULL, NULL, false },
    { "textvqa", UQM_METRIC_LMMS_VQA, UQM_QUESTION_CAPITALIZED, 0, SHORT, NULL, NULL, false },
    { "vizwiz", UQM_METRIC_LMMS_VQA, UQM_QUESTION_CAPITALIZED, 0, UNSURE SHORT, NULL, NULL, false },
    { "vqav2", UQM_METRIC_LMMS_VQAV2, UQM_QUESTION_AS_IS, 16, SHORT, NULL, NULL, false },
    { "gqa", UQM_METRIC_LMMS_EXACT, UQM_QUESTION_AS_IS, 16, SHORT, NULL, NULL, false },
    { "pope", UQM_METRIC_LMMS_POPE, UQM_QUESTION_STRIPPED, 128, SHORT, NULL, NULL, false },
    { "mmmu", UQM_METRIC_LMMS_MMMU, UQM_QUESTION_AS_IS, 128, "\n" LETTER, "\n" SHORT, NULL, false },
    { "realworldqa", UQM_METRIC_LMMS_REALWORLDQA, UQM_QUESTION_STRIPPED, 16, "", NULL, NULL,
      false },
    { "seedbench-2-plus", UQM_METRIC_LMMS_SEED, UQM_QUESTION_AS_IS, 16, LETTER, NULL, NULL, true },
    { "ocrbench", UQM_METRIC_LMMS_OCRBENCH, UQM_QUESTION_STRIPPED, 128, "", NULL, NULL, false },
    { "ai2d-gen", UQM_METRIC_LMMS_AI2D, UQM_QUESTION_AS_IS, 16, LETTER, NULL, NULL, false },
    { "scienceqa-gen", UQM_METRIC_LMMS_SCIENCEQA, UQM_QUESTION_AS_IS, 16, LETTER, NULL,
      "Context: ", false },
    { "seedbench-gen", UQM_METRIC_LMMS_SEED, UQM_QUESTION_AS_IS, 0, LETTER, NULL, NULL, false },
};

enum {
    N_CHOICE = sizeof choice_names / sizeof *choice_names,
    N_GENERATION = sizeof generation / sizeof *generation
};

const char *uqm_task_name(size_t i)
{
    return i < N_CHOICE                  ? choice_names[i]
           : i < N_CHOICE + N_GENERATION ? generation[i - N_CHOICE].name
                                         : NULL;
}

bool uqm_task_known(struct uqm_task *out, const char *name)
{
    for (size_t i = 0; i < N_CHOICE; i++)
        if (!strcmp(choice_names[i], name)) {
            uqm_task_choice(out);
            return true;
        }
    for (size_t i = 0; i < N_GENERATION; i++) {
        if (strcmp(generation[i].name, name) != 0)
            continue;
        out->kind = UQM_TASK_GENERATION;
        out->score = generation[i].score;
        out->metric = uqm_metric_name(out->score);
        out->form = generation[i].form;
        out->max_new_tokens = generation[i].max_new_tokens;
        out->suffix = generation[i].suffix;
        out->open_suffix =
            generation[i].open_suffix ? generation[i].open_suffix : generation[i].suffix;
        out->hint_label = generation[i].hint_label;
        out->picture_choices = generation[i].picture_choices;
        return true;
    }
    return false;
}
