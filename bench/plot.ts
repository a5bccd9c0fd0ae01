/** Line plots as SVG. */
const WIDTH = 640
const HEIGHT = 420
const MARGIN = { left: 70, right: 130, top: 40, bottom: 50 }
const COLOURS = ['#1b6ca8', '#c8553d', '#3a7d44', '#7b4b94', '#b08900']

export interface Series {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** Both axes logarithmic or linear. */
export function linePlot(
  title: string,
  xLabel: string,
  yLabel: string,
  series: readonly Series[],
  axes: 'logarithmic' | 'linear' = 'logarithmic',
): string {
  const all = series.flatMap((s) => s.points)
  const linear = (values: number[], from: number, to: number) => {
    const [least, most] = [Math.min(...values), Math.max(...values)]
    const step = 10 ** Math.floor(Math.log10((most - least) / 2 || 1))
    const [low, high] = [Math.floor(least / step), Math.ceil(most / step)]
    const place = (v: number) => from + ((v / step - low) / (high - low || 1)) * (to - from)
    const skip = Math.ceil((high - low) / 10)
    const ticks = Array.from({ length: Math.floor((high - low) / skip) + 1 }, (_, i) => (low + i * skip) * step)
    return { place, ticks }
  }
  const logarithmic = (values: number[], from: number, to: number) => {
    const low = Math.floor(Math.log10(Math.min(...values)))
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
    const place = (v: number) => from + ((Math.log10(v) - low) / (high - low)) * (to - from)
    return { place, ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)) }
  }
  const axis = axes === 'linear' ? linear : logarithmic
  const label = (tick: number) => String(Number(tick.toPrecision(axes === 'linear' ? 4 : 1)))
  const right = WIDTH - MARGIN.right
  const bottom = HEIGHT - MARGIN.bottom
  const x = axis(
    all.map(([v]) => v),
    MARGIN.left,
    right,
  )
  const y = axis(
    all.map(([, v]) => v),
    bottom,
    MARGIN.top,
  )
  const text = (px: number, py: number, content: string, extra = '') =>
    `<text x="${px.toFixed(1)}" y="${py.toFixed(1)}" ${extra}>${content}</text>`
  const line = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="#ddd"/>`
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(WIDTH / 2, 22, title, 'text-anchor="middle" font-size="14"'),
    ...x.ticks.flatMap((t) => [
      line(x.place(t), MARGIN.top, x.place(t), bottom),
      text(x.place(t), bottom + 18, label(t), 'text-anchor="middle"'),
    ]),
    ...y.ticks.flatMap((t) => [
      line(MARGIN.left, y.place(t), right, y.place(t)),
      text(MARGIN.left - 8, y.place(t) + 4, label(t), 'text-anchor="end"'),
    ]),
    text((MARGIN.left + right) / 2, HEIGHT - 12, xLabel, 'text-anchor="middle"'),
    text(
      16,
      (MARGIN.top + bottom) / 2,
      yLabel,
      `text-anchor="middle" transform="rotate(-90 16 ${(MARGIN.top + bottom) / 2})"`,
    ),
  ]
  series.forEach(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]
    const path = points.map(([px, py]) => `${x.place(px).toFixed(1)},${y.place(py).toFixed(1)}`)
    parts.push(`<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const point of path)
      parts.push(`<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="3" fill="${colour}"/>`)
    parts.push(text(right + 12, MARGIN.top + 16 + i * 18, name, `fill="${colour}"`))
  })
  return `${parts.join('\n')}\n</svg>\n`
}
