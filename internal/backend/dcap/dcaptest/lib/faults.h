// What a test orders a library to do, and how it counts the library's calls. Each
// of the libraries has a copy of its own.
#pragma once

#include <functional>
#include <string>

#include "abi.h"

namespace dcaptest {

// What the caller itself must do for an order; everything else is done by obey.
enum class Order { kNone, kAnswer, kLose, kGrowQuote, kShortSize, kGarbage };

struct Obeyed {
	Order order = Order::kNone;
	Code code = kSuccess; // for kAnswer
};

// Counts the call of a function.
void count(const char *function);

// Looks for an order to the function and obeys it. After waits until the call is
// over; a thread that must not fault earlier calls it. It may be empty.
Obeyed obey(const std::string &function, bool any, std::function<void()> after);

// Sleeps, or burns the processor, for as long as text says: a number and us, ms or s.
void sleep_for(const std::string &text);

} // namespace dcaptest
