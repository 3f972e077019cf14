/* call-functions.h: the functions that a call concerns.
 *
 * Owns nothing. A call is about the function whose object is called, or about those that its first
 * argument names: one, or an array (Method.names, Method.several). Here is found out which of them
 * exist; what is wrong with the others the method says. */
#pragma once

#include "dbus/method-call.h"

/* Of an array, so many addresses at most are looked at; a method refuses more. */
#define CALL_FUNCTIONS_MAX 1024U

/* Makes function number `n` the one that the call is about, for polkit and the log; none if it does
 * not exist. Returns false, with nothing changed, if the call names no such number. A call that
 * names one function, or is made to its object, has number 0. */
bool call_functions_select(MethodCall *call, unsigned n);

/* The function whose object is called, or NULL. Borrowed. */
Function *call_functions_called(const MethodCall *call);

/* All that exist; borrowed, free the array with g_ptr_array_unref(). */
GPtrArray *call_functions_find(const MethodCall *call);
