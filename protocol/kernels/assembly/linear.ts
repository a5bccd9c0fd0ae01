/** Convolution and matrix product mod 2^32. Twin: ring/linear.ts. */

/** out[i] += w * x[i * stride], count elements of 32 bits. */
// @ts-ignore: decorator
@inline
function addScaledRow(out: usize, x: usize, w: i32, count: usize, stride: usize): void {
  let i: usize = 0
  if (stride === 1) {
    const ws = i32x4.splat(w)
    for (; i + 4 <= count; i += 4) {
      const o = out + (i << 2)
      v128.store(o, i32x4.add(v128.load(o), i32x4.mul(ws, v128.load(x + (i << 2)))))
    }
  }
  for (; i < count; i++) {
    const o = out + (i << 2)
    store<i32>(o, load<i32>(o) + w * load<i32>(x + ((i * stride) << 2)))
  }
}

/**
 * One filter over one image: out is a zeroed or partial plane of outHeight x outWidth, x a plane of height x width, the
 * weights kh x kw. Padding is implicit.
 */
export function convolvePlane(
  x: usize,
  height: i32,
  width: i32,
  weights: usize,
  kh: i32,
  kw: i32,
  out: usize,
  outHeight: i32,
  outWidth: i32,
  sy: i32,
  sx: i32,
  padTop: i32,
  padLeft: i32,
  dy: i32,
  dx: i32,
): void {
  for (let l = 0; l < kh; l++) {
    const offsetY = l * dy - padTop
    for (let k = 0; k < kw; k++) {
      const w = load<i32>(weights + ((l * kw + k) << 2))
      if (w === 0) continue
      const offsetX = k * dx - padLeft
      const fromX = offsetX >= 0 ? 0 : (-offsetX + sx - 1) / sx
      const last = width - 1 - offsetX
      if (last < 0) continue
      const toX = min(outWidth, last / sx + 1)
      if (toX <= fromX) continue
      for (let oy = 0; oy < outHeight; oy++) {
        const y = oy * sy + offsetY
        if (y < 0 || y >= height) continue
        addScaledRow(
          out + ((oy * outWidth + fromX) << 2),
          x + ((y * width + fromX * sx + offsetX) << 2),
          w,
          toX - fromX,
          sx,
        )
      }
    }
  }
}

/** out[o] = sum of weights[o * inputs + i] * x[i]. */
export function matrixVector(weights: usize, x: usize, out: usize, inputs: usize, outputs: usize): void {
  for (let o: usize = 0; o < outputs; o++) {
    const row = weights + ((o * inputs) << 2)
    let sums = i32x4.splat(0)
    let i: usize = 0
    for (; i + 4 <= inputs; i += 4) {
      sums = i32x4.add(sums, i32x4.mul(v128.load(row + (i << 2)), v128.load(x + (i << 2))))
    }
    let sum =
      i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3)
    for (; i < inputs; i++) sum += load<i32>(row + (i << 2)) * load<i32>(x + (i << 2))
    store<i32>(out + (o << 2), sum)
  }
}
