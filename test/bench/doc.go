// Package bench measures: the handler beside other ways (make bench), the front end beside a bare HAProxy (make
// bench-front), and what other clients notice of an attack (make attack). Its results go into docs/.
package bench
