/* SPDX-License-Identifier: Apache-2.0
 * Two private keys that everybody knows, so that samples can be opened: for test/fuzz alone. make-corpus.py
 * reads them too. */
#ifndef COCOON_TEST_FUZZ_TEST_KEYS_H
#define COCOON_TEST_FUZZ_TEST_KEYS_H

#define TEST_KEY_EC                                                                                          \
	"-----BEGIN PRIVATE KEY-----\n"                                                                      \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1IIeENiFcUivkU1b\n"                                 \
	"R+zE7dlRWj8fpSe+6TTmyWDRhg+hRANCAAROi8wjpDnDIx8CnI3iI/GrMkIxhrAY\n"                                 \
	"IDAq3v8SM01pZDP+jnc1+oFTPGA4yuM8i44rUgels4bDc3aTkFKUpnC2\n"                                         \
	"-----END PRIVATE KEY-----\n"

#define TEST_KEY_RSA                                                                                         \
	"-----BEGIN PRIVATE KEY-----\n"                                                                      \
	"MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDBgRehMFcbCaub\n"                                 \
	"iV3gNoEOGThrKkSYy7b5AWUncU/qlNhN7DcqdUG6XMF1mgCs9Zs0FNyuiWLUiK6Q\n"                                 \
	"jo+ExJvy9Q+Io0NGtF6vp8cyIS0ppACcOHX4mmOm0iliQOuc1eqmOPbJgmg8WsZs\n"                                 \
	"Z7Q/QlvCY3wtqodGC7IZhTZtYwl28sCXRcxggpTE5zOf4/aTkHUcRrkdzsunc0+D\n"                                 \
	"BrhyDIr80mzSmql6Jp16miv6SCMAbjurVZvPVusqMDQgdxKjirZ7uW4tmJLyUsrM\n"                                 \
	"IIjYGxBb/gz4DqipwxICw7hiVxzEA7ay3T3YRcYEh3LUWe9xfYTKdgHsPbYLm3c6\n"                                 \
	"N2cTIt6fAgMBAAECggEAApdFZzmb+Pc0roT01lM0gClTSZAL0hXsMcJUheYtAUGT\n"                                 \
	"8dsnU/C0/BdQ2c/BkY9KUDS1Tbr2MU1RNQtLnaX6RpMEbbpt5Kz2lZiEAMZT8fpJ\n"                                 \
	"rc3NupHqoqmutyuSXAu7NBWQLFuMJL68aGgtECnFy8EEQSJG5Ge0r0XK2EUas9Z/\n"                                 \
	"QPXQacAFc6sswsJl61hohdSbvHYbjxeIvDqzz16kAqmB2MWjbrxFxSQIGaaUj3xZ\n"                                 \
	"0hdnmh1Nf26U/kfU+oc+rxy56r6x7zSUtVsbMHLYyxgOTqHPmD6z/yyUfvmdvZzt\n"                                 \
	"ni0ASdQcf+BmmvM5mehwPHcrPsZCJ8r0aX1E8zZWeQKBgQD5X+LhaW+MYpWTTAZC\n"                                 \
	"zPxd160VcVw1tCAb2a7yvlqrQTkT3I4ckl2B2Ehs3z4kAMuSd45UyZfKuBeMUDwq\n"                                 \
	"QNtUtseb6egXXcKjBJeCWmfCVd4K8YluugufY0b52iQqLCxW64BlpYT6xQkpnhIP\n"                                 \
	"Yx8PltXXkXY2+hbxpQPmmfwVFwKBgQDGpTS23wZt2npYJEQyLEynURtMIcWUSab7\n"                                 \
	"IiP6MZgXEx2Ajlcs9eAB/IYwZIEcAdlrFDR6EixZjs8ozTfE1ZCKp4FZDkTHdhJx\n"                                 \
	"BirH5bHGh2it8zs0YIhC9axkznmhkaphD63P7vQLSbuzvWeo4P3/E2qR8CXk3rke\n"                                 \
	"6EsmejwHuQKBgQDrFCz4eUAigrymAkDUsBAnFq2fTSGzrn2mQ2rcgf1O+0knI/8D\n"                                 \
	"iCaFxLFhkIEvx2AgTnvqCbAB9dCdAPX2jvUzwqognDuh600UB7wbscWmOPP8NP1t\n"                                 \
	"WAyk0B2UYsM8zi9uMMr1Bzd4fk3I4a38u2AIfhRQBlv+L3t5iClJNVehOQKBgQCD\n"                                 \
	"oQdcQk79Ti+R5n42DPrCSFFhUmOdTmzSrp3OdTyF1cnP3QJRLaBBULcOrBqNl4Ad\n"                                 \
	"n2bimNZAhgwpykqxKJ898Z8ZhwX2cfvoXyDMEx2JI0MvOSS7IVhJnoecyOD6Og7/\n"                                 \
	"gCc5yOp37GTvxotA8c39Tz1n9Qz3Ksraey0JEyhiKQKBgQC3gpYlXwJM168r/mNx\n"                                 \
	"iTs4l5DBP3dw/64Ci93L5pZ5dZ9dx95tuBTOZ6r1p4d693/jJsc/rMpG3edbyYY2\n"                                 \
	"37RprvypqFjARTYyGCK9EVf6kS9M6H08PqrSaCCrmlRCmuR5hIucWpMiirW0nB6h\n"                                 \
	"7n/AKtvt0JO/vwPRbj5gLlnASg==\n"                                                                     \
	"-----END PRIVATE KEY-----\n"

#endif
