"""A scrollbar that is drawn anew only if it differs: Textual's own costs as much as the list beside it."""

from rich.style import Style
from textual.geometry import Region
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip


class LeanScrollBar(ScrollBar):
    """Looks and acts like Textual's vertical scrollbar."""

    _drawn_as: tuple[object, ...] = ()
    _strips: tuple[Strip, ...] = ()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines in ``crop``, which is always as wide as the bar."""
        bar = self.render()
        assert isinstance(bar, ScrollBarRender)  # noqa: S101  # the renderer of scrollbars
        filters = self.get_line_filters()
        background = self.background_colors[1]
        looks = (self.size.height, bar.virtual_size, bar.window_size, bar.position, bar.style, background, *filters)
        if looks != self._drawn_as:
            self._drawn_as = looks
            self._strips = self._draw(bar)
        strips = self._strips[crop.y : crop.bottom]
        for line_filter in filters:
            strips = tuple(strip.apply_filter(line_filter, background) for strip in strips)
        return list(strips)

    def _draw(self, bar: ScrollBarRender) -> tuple[Strip, ...]:
        colours = bar.style
        assert isinstance(colours, Style)  # noqa: S101
        assert colours.color is not None  # noqa: S101
        assert colours.bgcolor is not None  # noqa: S101
        drawn = bar.render_bar(
            size=self.size.height,
            virtual_size=bar.virtual_size,
            window_size=bar.window_size,
            position=bar.position,
            thickness=self.thickness,
            back_color=colours.bgcolor,
            bar_color=colours.color,
        )
        same = {id(segment): Strip([segment], self.thickness) for segment in drawn.segments}
        return tuple(same[id(segment)] for segment in drawn.segments)
