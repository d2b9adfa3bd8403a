// The faults that a test injects into a library, and the counters of the library's
// calls. Each of the libraries has its own copy of this.
#pragma once

#include <functional>
#include <string>

#include "abi.h"

namespace dcaptest {

// What the caller itself must do for a fault; inject does everything else.
enum class Action { kNone, kReturnCode, kLoseEnclave, kGrowQuote, kShortSize, kGarbage, kStatus, kAnswer };

struct Injected {
	Action action = Action::kNone;
	Code code = kSuccess; // for kReturnCode
	int status = 0;       // for kStatus: of HTTP, or of libcurl if it is below 100
	std::string answer;   // for kAnswer: what is wrong with it
};

// Counts the call of a function.
void count(const char *function);

// Takes a fault that is to be injected into the function, if there is one, and
// injects it. after waits until the call is over; a thread that must not crash
// earlier calls it. It may be empty.
Injected inject(const std::string &function, bool any, std::function<void()> after);

// Sleeps for the duration in text: a number and us, ms or s.
void sleep_for(const std::string &text);

} // namespace dcaptest
