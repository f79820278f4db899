#include <stdlib.h>
#include <string.h>

#include "src/model/tokenizer.h"

static const char vicuna_system[] =
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions.";

char *uqm_prompt_vicuna(const char *prefix, const char *system, size_t n_images, const char *text)
{
    static const char user[] = " USER: ", mark[] = "<image>", assistant[] = " ASSISTANT:";
    prefix = prefix ? prefix : "";
    system = system ? system : vicuna_system;

    /* Each mark is followed by a space, the last one by the newline. */
    size_t marks_len;
    if (__builtin_mul_overflow(n_images, sizeof mark, &marks_len) || marks_len > SIZE_MAX / 2)
        return NULL;
    char *prompt = malloc(strlen(prefix) + strlen(system) + strlen(user) + marks_len +
                          strlen(text) + sizeof assistant);
    if (!prompt)
        return NULL;

    char *at = stpcpy(stpcpy(stpcpy(prompt, prefix), system), user);
    for (size_t i = 0; i < n_images; i++)
        at = stpcpy(stpcpy(at, mark), i + 1 < n_images ? " " : "\n");
    stpcpy(stpcpy(at, text), assistant);
    return prompt;
}
