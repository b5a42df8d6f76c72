;; The parts of the entropy codec that touch every value, by SIMD and 64-bit registers. What they give is the same to the last bit as
;; what eight-bits.ts, quantised-source.ts and huffman.ts give, which are used where this cannot run. `kernels.ts` calls it, and
;; `code.ts` holds it assembled (`node tools/assemble-kernels.mjs`).
;;
;; Memory: 0x00000 values of a chunk, FP32; 0x40000 its symbols; 0x50100 results of `range`; 0x51000 counts of symbols, four
;; tables of 256; 0x52000 a code for each symbol; 0x52400 a value for each; 0x53000 bits, and room for the stores that run ahead.
(module
  (memory (export "memory") 7)

  ;; Least and most of the values in [0, $end) bytes, at least one and a multiple of 16 bytes, each in four lanes. The bits of an FP32, all
  ;; but the sign turned over where that is set, are a whole number that orders like the value.
  (func (export "range") (param $end i32)
    (local $at i32) (local $w v128) (local $least v128) (local $most v128) (local $mask v128)
    (local.set $mask (v128.const i32x4 0x7fffffff 0x7fffffff 0x7fffffff 0x7fffffff))
    (local.set $w (v128.load (i32.const 0)))
    (local.set $least (v128.xor (local.get $w) (v128.and (i32x4.shr_s (local.get $w) (i32.const 31)) (local.get $mask))))
    (local.set $most (local.get $least))
    (loop $more
      (local.set $w (v128.load (local.get $at)))
      (local.set $w (v128.xor (local.get $w) (v128.and (i32x4.shr_s (local.get $w) (i32.const 31)) (local.get $mask))))
      (local.set $least (i32x4.min_s (local.get $least) (local.get $w)))
      (local.set $most (i32x4.max_s (local.get $most) (local.get $w)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
    (v128.store (i32.const 0x50100) (local.get $least))
    (v128.store (i32.const 0x50110) (local.get $most)))

  ;; The levels of four values: `value * factor + up` in doubles, cut to whole numbers.
  (func $levels4 (param $at i32) (param $factor v128) (param $up v128) (result v128)
    (local $v v128)
    (local.set $v (v128.load (local.get $at)))
    (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
      (i32x4.trunc_sat_f64x2_s_zero
        (f64x2.add (f64x2.mul (f64x2.promote_low_f32x4 (local.get $v)) (local.get $factor)) (local.get $up)))
      (i32x4.trunc_sat_f64x2_s_zero
        (f64x2.add (f64x2.mul (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $v) (local.get $v)))
          (local.get $factor)) (local.get $up)))))

  ;; Counts eight symbols, in the four tables by turns.
  (func $count (param $symbols i64) (local $at i32)
    (local.set $at (i32.add (i32.const 0x51000) (i32.shl (i32.wrap_i64 (i64.and (local.get $symbols) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51400) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 8)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51800) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 16)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51c00) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 24)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51000) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 32)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51400) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 40)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51800) (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $symbols) (i64.const 48)) (i64.const 255))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (local.set $at (i32.add (i32.const 0x51c00) (i32.shl (i32.wrap_i64 (i64.shr_u (local.get $symbols) (i64.const 56))) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1))))

  ;; Levels (`$apart` 0) or their differences from the one before, plus 128 (`$apart` -1), of the values in [0, $end) bytes, at least
  ;; one and a multiple of 64 bytes, to $to; each counted. `$before` is the level before the first. Gives the last level.
  (func (export "read") (param $end i32) (param $to i32) (param $factor f64) (param $up f64) (param $apart i32) (param $before i32) (result i32)
    (local $at i32) (local $f v128) (local $u v128) (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $left v128) (local $keep v128) (local $half v128) (local $out v128)
    (local.set $f (f64x2.splat (local.get $factor)))
    (local.set $u (f64x2.splat (local.get $up)))
    (local.set $keep (i32x4.splat (local.get $apart)))
    (local.set $half (v128.and (local.get $keep) (i32x4.splat (i32.const 128))))
    (local.set $left (i32x4.splat (local.get $before)))
    (loop $more
      (local.set $a (call $levels4 (local.get $at) (local.get $f) (local.get $u)))
      (local.set $b (call $levels4 (i32.add (local.get $at) (i32.const 16)) (local.get $f) (local.get $u)))
      (local.set $c (call $levels4 (i32.add (local.get $at) (i32.const 32)) (local.get $f) (local.get $u)))
      (local.set $d (call $levels4 (i32.add (local.get $at) (i32.const 48)) (local.get $f) (local.get $u)))
      (local.set $out (i8x16.narrow_i16x8_u
        (i16x8.narrow_i32x4_u
          (v128.and (i32x4.splat (i32.const 255)) (i32x4.add (local.get $half) (i32x4.sub (local.get $a) (v128.and (local.get $keep) (i8x16.shuffle 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 (local.get $left) (local.get $a))))))
          (v128.and (i32x4.splat (i32.const 255)) (i32x4.add (local.get $half) (i32x4.sub (local.get $b) (v128.and (local.get $keep) (i8x16.shuffle 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 (local.get $a) (local.get $b)))))))
        (i16x8.narrow_i32x4_u
          (v128.and (i32x4.splat (i32.const 255)) (i32x4.add (local.get $half) (i32x4.sub (local.get $c) (v128.and (local.get $keep) (i8x16.shuffle 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 (local.get $b) (local.get $c))))))
          (v128.and (i32x4.splat (i32.const 255)) (i32x4.add (local.get $half) (i32x4.sub (local.get $d) (v128.and (local.get $keep) (i8x16.shuffle 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 (local.get $c) (local.get $d)))))))))
      (v128.store (local.get $to) (local.get $out))
      (call $count (i64x2.extract_lane 0 (local.get $out)))
      (call $count (i64x2.extract_lane 1 (local.get $out)))
      (local.set $left (local.get $d))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $end))))
    (i32x4.extract_lane 3 (local.get $left)))

  ;; Symbols in [$from, $to) by their codes (bits << 4 | length, at most 12 bits), to $at; gives where they end. Four codes give at
  ;; most 48 bits, and fewer than 8 wait in the register, so one store does for four.
  (func (export "write") (param $from i32) (param $to i32) (param $at i32) (result i32)
    (local $held i64) (local $bits i32) (local $code i32) (local $four i32)
    (local.set $four (i32.add (local.get $from) (i32.and (i32.sub (local.get $to) (local.get $from)) (i32.const -4))))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $from) (local.get $four)))
        (local.set $code (i32.load offset=0x52000 (i32.shl (i32.load8_u (local.get $from)) (i32.const 2))))
        (local.set $held (i64.or (local.get $held) (i64.shl (i64.extend_i32_u (i32.shr_u (local.get $code) (i32.const 4))) (i64.extend_i32_u (local.get $bits)))))
        (local.set $bits (i32.add (local.get $bits) (i32.and (local.get $code) (i32.const 15))))
        (local.set $code (i32.load offset=0x52000 (i32.shl (i32.load8_u offset=1 (local.get $from)) (i32.const 2))))
        (local.set $held (i64.or (local.get $held) (i64.shl (i64.extend_i32_u (i32.shr_u (local.get $code) (i32.const 4))) (i64.extend_i32_u (local.get $bits)))))
        (local.set $bits (i32.add (local.get $bits) (i32.and (local.get $code) (i32.const 15))))
        (local.set $code (i32.load offset=0x52000 (i32.shl (i32.load8_u offset=2 (local.get $from)) (i32.const 2))))
        (local.set $held (i64.or (local.get $held) (i64.shl (i64.extend_i32_u (i32.shr_u (local.get $code) (i32.const 4))) (i64.extend_i32_u (local.get $bits)))))
        (local.set $bits (i32.add (local.get $bits) (i32.and (local.get $code) (i32.const 15))))
        (local.set $code (i32.load offset=0x52000 (i32.shl (i32.load8_u offset=3 (local.get $from)) (i32.const 2))))
        (local.set $held (i64.or (local.get $held) (i64.shl (i64.extend_i32_u (i32.shr_u (local.get $code) (i32.const 4))) (i64.extend_i32_u (local.get $bits)))))
        (local.set $bits (i32.add (local.get $bits) (i32.and (local.get $code) (i32.const 15))))
        (i64.store (local.get $at) (local.get $held))
        (local.set $at (i32.add (local.get $at) (i32.shr_u (local.get $bits) (i32.const 3))))
        (local.set $held (i64.shr_u (local.get $held) (i64.extend_i32_u (i32.and (local.get $bits) (i32.const 56)))))
        (local.set $bits (i32.and (local.get $bits) (i32.const 7)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (br $more)))
    (block $over
      (loop $rest
        (br_if $over (i32.ge_u (local.get $from) (local.get $to)))
        (local.set $code (i32.load offset=0x52000 (i32.shl (i32.load8_u (local.get $from)) (i32.const 2))))
        (local.set $held (i64.or (local.get $held) (i64.shl (i64.extend_i32_u (i32.shr_u (local.get $code) (i32.const 4))) (i64.extend_i32_u (local.get $bits)))))
        (local.set $bits (i32.add (local.get $bits) (i32.and (local.get $code) (i32.const 15))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $rest)))
    (i64.store (local.get $at) (local.get $held))
    (i32.add (local.get $at) (i32.shr_u (i32.add (local.get $bits) (i32.const 7)) (i32.const 3))))

  ;; Levels from the differences in the $end bytes of symbols, in place: sums of all before, by halves of the distance, 16 at a time.
  (func (export "restore") (param $end i32) (param $before i32)
    (local $at i32) (local $v v128) (local $left v128)
    (local.set $left (i8x16.splat (local.get $before)))
    (loop $more
      (local.set $v (i8x16.sub (v128.load offset=0x40000 (local.get $at)) (i8x16.splat (i32.const 128))))
      (local.set $v (i8x16.add (local.get $v) (i8x16.shuffle 0 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 (v128.const i64x2 0 0) (local.get $v))))
      (local.set $v (i8x16.add (local.get $v) (i8x16.shuffle 0 1 16 17 18 19 20 21 22 23 24 25 26 27 28 29 (v128.const i64x2 0 0) (local.get $v))))
      (local.set $v (i8x16.add (local.get $v) (i8x16.shuffle 0 1 2 3 16 17 18 19 20 21 22 23 24 25 26 27 (v128.const i64x2 0 0) (local.get $v))))
      (local.set $v (i8x16.add (local.get $v) (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (v128.const i64x2 0 0) (local.get $v))))
      (local.set $v (i8x16.add (local.get $v) (local.get $left)))
      (v128.store offset=0x40000 (local.get $at) (local.get $v))
      (local.set $left (i8x16.shuffle 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 (local.get $v) (local.get $v)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; The values of the $end bytes of symbols by the table at 0x52400, a multiple of 8, to 0.
  (func (export "values") (param $end i32)
    (local $from i32) (local $at i32) (local $eight i64)
    (loop $more
      (local.set $eight (i64.load offset=0x40000 (local.get $from)))
      (f32.store offset=0 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shl (local.get $eight) (i64.const 2))) (i32.const 1020))))
      (f32.store offset=4 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 6))) (i32.const 1020))))
      (f32.store offset=8 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 14))) (i32.const 1020))))
      (f32.store offset=12 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 22))) (i32.const 1020))))
      (f32.store offset=16 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 30))) (i32.const 1020))))
      (f32.store offset=20 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 38))) (i32.const 1020))))
      (f32.store offset=24 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 46))) (i32.const 1020))))
      (f32.store offset=28 (local.get $at) (f32.load offset=0x52400 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $eight) (i64.const 54))) (i32.const 1020))))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (br_if $more (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 8))) (local.get $end))))))
